//! A service on loopback whose every byte the test decides, and which remembers what it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Such as `GET /api/v1/connectors?limit=100`.
    pub(super) line: String,
    /// The head, in lower case.
    pub(super) head: String,
    pub(super) body: String,
}

/// What comes back.
pub(super) enum Answer {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The first bytes, and then the others again and again.
    Endless(Vec<u8>, Vec<u8>),
    /// The first bytes, and then the others one by one, so long apart.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

type Script = dyn Fn(&Asked) -> Answer + Send + Sync;

pub(super) struct Hostile {
    pub(super) endpoint: String,
    seen: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
    accepting: tokio::task::JoinHandle<()>,
}

impl Hostile {
    pub(super) async fn start(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (seen, connections) = (Arc::default(), Arc::new(AtomicUsize::new(0)));
        let script: Arc<Script> = Arc::new(script);
        let (kept, counted) = (Arc::clone(&seen), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&kept)));
            }
        });
        Self { endpoint, seen, connections, accepting }
    }

    pub(super) fn port(&self) -> u16 {
        self.endpoint.rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(super) fn seen(&self) -> Vec<Asked> {
        self.seen.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// An answer with these header lines and this body.
pub(super) fn http(status: u16, headers: &[&str], body: impl AsRef<[u8]>) -> Answer {
    let body = body.as_ref();
    let headers = headers.iter().map(|header| format!("{header}\r\n")).collect::<String>();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    Answer::Bytes([head.as_bytes(), body].concat())
}

/// A success with this data.
pub(super) fn success(data: &Value) -> Answer {
    http(200, &[], serde_json::json!({"status": "success", "data": data}).to_string())
}

async fn serve(mut stream: TcpStream, script: Arc<Script>, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut bytes = Vec::new();
    while let Some(asked) = read(&mut stream, &mut bytes).await {
        seen.lock().push(asked.clone());
        let sent = match script(&asked) {
            Answer::Bytes(answer) => stream.write_all(&answer).await,
            Answer::Endless(head, again) => {
                let mut sent = stream.write_all(&head).await;
                while sent.is_ok() {
                    sent = stream.write_all(&again).await;
                }
                sent
            }
            Answer::Drip(head, slow, pause) => {
                let mut sent = stream.write_all(&head).await;
                for byte in slow {
                    sent = stream.write_all(&[byte]).await;
                    if sent.is_err() {
                        break;
                    }
                    tokio::time::sleep(pause).await;
                }
                sent
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Asked> {
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let line = text.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let head = text.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let length = length.unwrap_or(0);
    bytes.drain(..end);
    while bytes.len() < length {
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes.drain(..length).collect::<Vec<_>>()).into_owned();
    Some(Asked { line, head, body })
}
