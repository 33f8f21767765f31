//! TLS: the platform's roots do not know a private certificate, the bundle does; a handshake that fails sends nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors_api::{Client, ClientBuilder, Endpoint, ErrorKind, TimeLimits};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::double::json;
use crate::{billing, conn};

fn https(port: u16) -> ClientBuilder {
    let endpoint = Endpoint::parse(&format!("https://127.0.0.1:{port}")).unwrap();
    Client::builder(endpoint, "sk_live_canary".into()).without_proxies()
}

/// A service with a certificate of its own for 127.0.0.1; gives its port and the certificate.
async fn service() -> (u16, String) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            assert!(read > 0);
            stream.write_all(&json(200, r#"{"data":{"id":"conn-1"}}"#)).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (port, cert.pem())
}

#[tokio::test]
async fn a_private_certificate_is_trusted_only_with_its_bundle() {
    let (port, pem) = service().await;
    let error = https(port).build().unwrap().create(&billing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSent, "{error}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let trusting = https(port).ca_bundle(pem).build().unwrap();
    assert_eq!(trusting.get(&conn("conn-1")).await.unwrap().value.id, conn("conn-1"));
    assert_eq!(trusting.create(&billing()).await.unwrap().value.id, conn("conn-1"));
}

#[tokio::test]
async fn a_service_that_does_not_speak_tls_gets_nothing() {
    let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = plain.local_addr().unwrap().port();
    let received = tokio::spawn(async move {
        let (mut stream, _) = plain.accept().await.unwrap();
        let mut hello = vec![0; 4096];
        let read = stream.read(&mut hello).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        hello.truncate(read);
        hello
    });
    let error = https(port).build().unwrap().create(&billing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSent, "{error}");
    let hello = String::from_utf8_lossy(&received.await.unwrap()).into_owned();
    assert!(!hello.contains("canary"));
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_at_the_connect_limit_with_nothing_sent() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limits = TimeLimits { connect: Duration::from_millis(150), ..TimeLimits::default() };
    let client = https(silent.local_addr().unwrap().port()).time_limits(limits).build().unwrap();
    let begun = Instant::now();
    let error = client.create(&billing()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSent, "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10), "the connect limit came first: {:?}", begun.elapsed());
}
