//! Looks names up, and holds them to addresses of the network: whoever answers for a permitted name cannot lead its requests to
//! this machine, to its neighbours on the link, or to a cloud's metadata service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Metadata services that are not at a link-local address: of AWS over IPv6, of Alibaba and of Oracle.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

type Lookup = dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync;

/// The resolver.
#[derive(Clone)]
pub(super) struct Names(Arc<Lookup>);

/// All that a name led to is forbidden.
#[derive(Debug, thiserror::Error)]
#[error(
    "it leads to {0}, and a name may not lead to this machine, its link or a metadata service; where that is meant, permit and use the address itself"
)]
struct Forbidden(IpAddr);

impl Names {
    /// As the system resolves them.
    pub(super) fn of_the_system() -> Self {
        // The connection's own port takes the place of the 0.
        Self(Arc::new(|name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect()) })
        }))
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = Arc::clone(&self.0);
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let found = lookup(name.clone()).await?;
            let allowed = allowed(&name, found)?;
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Those of the addresses that a name may have.
fn allowed(name: &str, mut found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, Forbidden> {
    let forbidden = found.iter().map(SocketAddr::ip).find(|ip| !may_have(name, *ip));
    found.retain(|address| may_have(name, address.ip()));
    match forbidden {
        Some(address) if found.is_empty() => Err(Forbidden(address)),
        _ => Ok(found),
    }
}

fn may_have(name: &str, address: IpAddr) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let local = name == "localhost" || name.ends_with(".localhost");
    let address = plain(address);
    if address.is_loopback() { local } else { !is_forbidden(address) }
}

/// The IPv4 address within an IPv6 one, where it is one in other words.
fn plain(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [high @ .., a, b] = v6.segments();
    // NAT64's prefix leads to the address in its end.
    let embedded = v6.to_ipv4_mapped().or_else(|| {
        let [a, b, c, d] = [a.to_be_bytes(), b.to_be_bytes()].concat()[..] else { return None };
        (high == [0x64, 0xff9b, 0, 0, 0, 0]).then(|| Ipv4Addr::new(a, b, c, d))
    });
    embedded.map_or(address, IpAddr::V4)
}

fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || METADATA_V4.contains(&v4)
        }
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified() || v6 == METADATA_V6
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn names(address: &str) -> Result<usize, String> {
        let found = vec![SocketAddr::new(address.parse().unwrap(), 0)];
        allowed("api.example", found).map(|found| found.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_name_may_lead_into_a_network_and_nowhere_near() {
        for address in ["203.0.113.7", "10.96.0.1", "192.168.1.1", "240.240.0.1", "2001:db8::1", "fd12::1"] {
            assert_eq!(names(address), Ok(1), "{address}");
        }
        for address in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
        ] {
            let error = names(address).unwrap_err();
            assert!(error.contains("permit and use the address itself"), "{address}: {error}");
        }
    }

    #[test]
    fn only_localhost_is_this_machine_and_nothing_else() {
        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        for name in ["localhost", "LOCALHOST.", "api.localhost"] {
            assert!(may_have(name, at("127.0.0.1")) && may_have(name, at("::1")), "{name}");
            assert!(!may_have(name, at("169.254.169.254")), "{name}");
        }
        assert!(!may_have("localhost.example", at("127.0.0.1")));
    }

    #[test]
    fn of_several_addresses_those_that_are_allowed_are_left() {
        let both = ["127.0.0.1:0", "203.0.113.7:0"].map(|text| text.parse().unwrap());
        assert_eq!(allowed("api.example", both.to_vec()).unwrap(), both[1..]);
    }

    /// Whoever answers for the name says that it is this machine, where somebody listens.
    #[tokio::test]
    async fn a_name_that_is_rebound_to_this_machine_gets_no_connection() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let lookup = move |_| -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> {
            counted.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))]) })
        };
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .dns_resolver(Arc::new(Names(Arc::new(lookup))) as Arc<dyn Resolve>)
            .build()
            .unwrap();
        let error = client.get(format!("http://api.example:{port}/")).send().await.unwrap_err();
        assert!(error.is_connect(), "{error:?}");
        let said = super::super::transport::root_cause(&error);
        assert!(said.contains("it leads to 127.0.0.1"), "{said}");
        let connected = tokio::time::timeout(std::time::Duration::from_millis(200), listener.accept()).await;
        assert!(connected.is_err(), "it was contacted");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // The same name through a resolver without the guard does arrive, so the test can tell.
        let open = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .resolve("api.example", SocketAddr::from(([127, 0, 0, 1], port)));
        let asking = tokio::spawn(open.build().unwrap().get(format!("http://api.example:{port}/")).send());
        listener.accept().await.unwrap();
        asking.abort();
    }
}
