//! Free ports on loopback. A port can be taken between the look and the start, so starts are tried again.

use std::net::{Ipv4Addr, TcpListener};

use crate::{Error, Result};

/// How often a start is tried when its ports were taken in between.
const ATTEMPTS: usize = 4;

/// A port that nobody held a moment ago.
///
/// # Errors
/// [`Error::Io`] when no port of 127.0.0.1 can be bound.
pub fn free() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind a port of 127.0.0.1"))?;
    Ok(listener.local_addr().map_err(Error::io("read the bound port"))?.port())
}

/// Runs `start`, again with other ports when one of its own was taken by somebody else.
pub(crate) async fn retry<T>(mut start: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start().await {
            Err(error) if error.is_port_taken() && attempt < ATTEMPTS => attempt += 1,
            result => return result,
        }
    }
}
