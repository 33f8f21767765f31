//! A self-hosted implementation of the Connectors API: real cloud storage, real scans, one database.
//!
//! `http` speaks the contract, `store` keeps it, `storage` reaches the clouds, `scan` finds personal
//! data. The binary is [`cli`]; a program that wants a server inside of it calls [`serve::serve`].

pub mod cli;
mod http;
pub mod logging;
mod scan;
pub mod serve;
mod storage;
mod store;

pub use storage::AwsSettings;
pub use store::{DatabaseSettings, OpenError, Role, ServeLock, Store, StoreError};
