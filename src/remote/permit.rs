//! The endpoints that this operator may talk to. No token is sent, and no connection opened, to any other.

use connectors_api::Endpoint;

/// The permitted endpoints, by scheme, host and port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PermittedEndpoints(Vec<String>);

impl PermittedEndpoints {
    /// The list, from the operator's own configuration.
    pub fn new(endpoints: &[Endpoint]) -> Self {
        Self(endpoints.iter().map(Endpoint::origin).collect())
    }

    /// Whether the endpoint is on the list.
    pub fn allow(&self, endpoint: &Endpoint) -> bool {
        self.0.contains(&endpoint.origin())
    }
}

impl std::fmt::Display for PermittedEndpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).unwrap()
    }

    #[test]
    fn an_endpoint_is_permitted_by_scheme_host_and_port() {
        let permitted = PermittedEndpoints::new(&[
            endpoint("https://api.slim.io"),
            endpoint("http://server.slimio.svc:8080"),
        ]);
        for good in
            ["https://api.slim.io/api/v1/", "https://API.slim.io:443", "http://server.slimio.svc:8080"]
        {
            assert!(permitted.allow(&endpoint(good)), "{good}");
        }
        for bad in [
            "http://api.slim.io",
            "https://api.slim.io:8443",
            "https://api.slim.io.evil.example",
            "http://server.slimio.svc",
            "http://169.254.169.254",
            "http://0x7f.1",
        ] {
            assert!(!permitted.allow(&endpoint(bad)), "{bad}");
        }
    }
}
