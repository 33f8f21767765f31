//! A wire that can be cut: connections to a part pass through, or break.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A port that leads to another one while it is closed.
pub(crate) struct Switch {
    endpoint: String,
    closed: watch::Sender<bool>,
}

impl Switch {
    /// Leads to an endpoint of loopback.
    pub(crate) async fn to(endpoint: &str) -> Self {
        let target = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (closed, state) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (target, mut state) = (target.clone(), state.clone());
                tokio::spawn(async move {
                    if !*state.borrow() {
                        return;
                    }
                    let Ok(mut far) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = state.wait_for(|closed| !closed) => {}
                    }
                });
            }
        });
        Self { endpoint, closed }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Breaks what passes, and whatever comes, until it is closed again.
    pub(crate) fn open(&self) {
        self.closed.send(false).unwrap();
    }

    pub(crate) fn close(&self) {
        self.closed.send(true).unwrap();
    }
}
