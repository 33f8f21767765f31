//! The operator as its users meet it: a real API server, the self-hosted Connectors API, an object store with STS, and the
//! shipped binaries. Nothing is faked.

mod bad_input;
mod lab;
mod outages;
mod the_loop;
