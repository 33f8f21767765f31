//! The Connectors API as Rust types: what goes over the wire, under which paths, and a client for it.
//!
//! The operator and the self-hosted server both depend on this crate and on nothing else of each
//! other, so the contract stands in one place. The crate knows neither Kubernetes nor a database.

mod credential;
mod endpoint;
mod error;

pub mod client;
pub mod paths;
pub mod wire;

pub use client::{
    Answer, BuildError, Client, ClientBuilder, Incomplete, ListError, ListLimits, ListQuery, Listing, Page,
    RateLimit, TimeLimits,
};
pub use credential::CredentialError;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{Error, ErrorKind};
pub use paths::{Route, Verb};
pub use wire::*;
