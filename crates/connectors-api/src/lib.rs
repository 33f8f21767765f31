//! The Connectors API as Rust types: what goes over the wire, under which paths, and a client for it.
//!
//! The operator and the self-hosted server both depend on this crate and on nothing else of each
//! other, so the contract stands in one place. The crate knows neither Kubernetes nor a database.

pub mod wire;

pub use wire::*;
