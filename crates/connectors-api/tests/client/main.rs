//! The client against a service double that answers, breaks off, stalls, redirects and lies byte by byte.
#![allow(clippy::unwrap_used, reason = "the double and the fixtures are test code too")]

mod bodies;
mod double;
mod environment;
mod lists;
mod mutations;
mod reads;
mod secrets;
mod tls;

use std::time::Duration;

use connectors_api::{
    AwsConfig, Client, ClientBuilder, ConnectorConfig, ConnectorId, CreateConnector, Endpoint, Scope,
    TimeLimits,
};
use secrecy::SecretString;

/// Short limits, for tests of the limits only: a busy machine may run into them.
const LIMITS: TimeLimits = TimeLimits {
    connect: Duration::from_millis(500),
    read: Duration::from_millis(400),
    total: Duration::from_millis(900),
    test: Duration::from_secs(5),
};

fn builder(address: impl std::fmt::Display) -> ClientBuilder {
    let endpoint = Endpoint::parse(&format!("http://{address}")).unwrap();
    Client::builder(endpoint, SecretString::from("sk_live_canary"))
        .user_agent("slimio-operator/9.9.9")
        .without_proxies()
}

/// A client with the ordinary limits, for everything that does not test them.
fn client(address: impl std::fmt::Display) -> Client {
    builder(address).build().unwrap()
}

fn impatient(address: impl std::fmt::Display) -> Client {
    builder(address).time_limits(LIMITS).build().unwrap()
}

fn conn(id: &str) -> ConnectorId {
    id.parse().unwrap()
}

fn billing() -> CreateConnector {
    CreateConnector {
        name: "Billing archive".to_owned(),
        config: ConnectorConfig::Aws(AwsConfig {
            role_arn: "arn:aws:iam::210987654321:role/BillingReader".to_owned(),
            external_id: SecretString::from("ext-canary"),
            region: "eu-west-1".to_owned(),
        }),
        scope: Scope { buckets: vec!["billing-2023".to_owned()], ..Scope::default() },
    }
}
