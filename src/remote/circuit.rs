//! Circuits: what the API refuses for who asks is not asked again, but for a slow probe. 401 opens the credential's circuit,
//! 403 that of the refused route. Another credential is another [`Remote`](super::Remote), with circuits of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Fault, FaultKind};

/// How far apart the probes of an open circuit are.
pub(super) const PROBE_EVERY: Duration = Duration::from_mins(5);

/// The circuits of one credential.
#[derive(Debug, Default)]
pub struct Circuits(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    credential: Option<Open>,
    routes: BTreeMap<&'static str, Open>,
    /// Whether one opened or closed since somebody asked.
    turned: bool,
}

#[derive(Clone, Debug)]
struct Open {
    said: String,
    probe_at: Instant,
}

/// Leave to send one request.
#[derive(Debug)]
pub struct Leave<'a> {
    circuits: &'a Circuits,
    route: &'static str,
    probes: bool,
}

impl Circuits {
    /// Leave to send a request of that route. Where a circuit is open, one request each [`PROBE_EVERY`] gets it.
    ///
    /// # Errors
    /// What the API said when it opened the circuit.
    pub fn admit(&self, route: &'static str) -> Result<Leave<'_>, Fault> {
        let now = Instant::now();
        let mut state = self.0.lock();
        let State { credential, routes, .. } = &mut *state;
        let open = [
            credential.as_mut().map(|open| (FaultKind::Unauthorized, open)),
            routes.get_mut(route).map(|open| (FaultKind::Forbidden, open)),
        ];
        let mut probes = false;
        let mut due = Vec::new();
        for (kind, open) in open.into_iter().flatten() {
            if open.probe_at > now {
                let message = format!("nothing was sent, since the last answer was: {}", open.said);
                return Err(Fault { kind, message, retry_after: Some(open.probe_at - now) });
            }
            due.push(open);
        }
        for open in due {
            (open.probe_at, probes) = (now + PROBE_EVERY, true);
        }
        Ok(Leave { circuits: self, route, probes })
    }

    /// Whether the API refuses the credential, and the routes that it refuses to it.
    pub fn open(&self) -> (bool, Vec<&'static str>) {
        let state = self.0.lock();
        (state.credential.is_some(), state.routes.keys().copied().collect())
    }

    /// Whether a circuit opened or closed since this was asked last.
    pub fn turned(&self) -> bool {
        std::mem::take(&mut self.0.lock().turned)
    }
}

impl Leave<'_> {
    /// The request was answered, or not, with that status.
    pub fn used(mut self, status: Option<u16>, said: &str) {
        self.probes = false;
        let mut state = self.circuits.0.lock();
        let State { credential, routes, turned } = &mut *state;
        // What was said first stays, so that the conditions that tell it stay as they are.
        let open = || Open { said: said.to_owned(), probe_at: Instant::now() + PROBE_EVERY };
        match status {
            Some(401) => {
                *turned |= credential.is_none();
                credential.get_or_insert_with(open).probe_at = Instant::now() + PROBE_EVERY;
            }
            Some(403) => {
                *turned |= !routes.contains_key(self.route) || credential.take().is_some();
                routes.entry(self.route).or_insert_with(open).probe_at = Instant::now() + PROBE_EVERY;
            }
            Some(200..=299 | 400 | 404 | 409 | 422) => {
                *turned |= credential.take().is_some();
                *turned |= routes.remove(self.route).is_some();
            }
            // No answer, or one that may come before anybody looks at who asks.
            _ => {}
        }
    }
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        // A probe that was not sent is still due.
        if self.probes {
            let now = Instant::now();
            let mut state = self.circuits.0.lock();
            if let Some(open) = &mut state.credential {
                open.probe_at = now;
            }
            if let Some(open) = state.routes.get_mut(self.route) {
                open.probe_at = now;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(circuits: &Circuits, route: &'static str, status: u16) {
        circuits.admit(route).unwrap().used(Some(status), "HTTP 4xx: no");
    }

    fn refused(circuits: &Circuits, route: &'static str) -> Option<(FaultKind, u64)> {
        let fault = circuits.admit(route).err()?;
        assert!(fault.message.contains("HTTP 4xx: no"), "{}", fault.message);
        Some((fault.kind, fault.retry_after.unwrap().as_secs()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_403_closes_its_route_to_others_and_a_401_all_of_them() {
        let circuits = Circuits::default();
        send(&circuits, "create", 403);
        assert_eq!(refused(&circuits, "create"), Some((FaultKind::Forbidden, 300)));
        assert_eq!(refused(&circuits, "list"), None);
        send(&circuits, "list", 401);
        assert_eq!(refused(&circuits, "delete"), Some((FaultKind::Unauthorized, 300)));
        assert_eq!(circuits.open(), (true, vec!["create"]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_goes_every_five_minutes_and_its_success_closes_the_circuit() {
        let circuits = Circuits::default();
        send(&circuits, "create", 403);
        assert!(circuits.turned() && !circuits.turned(), "it is told once");
        tokio::time::advance(PROBE_EVERY).await;
        let probe = circuits.admit("create").unwrap();
        assert!(refused(&circuits, "create").is_some(), "one is enough");
        probe.used(Some(403), "HTTP 4xx: no");
        assert!(!circuits.turned());
        tokio::time::advance(PROBE_EVERY).await;
        send(&circuits, "create", 201);
        assert!(circuits.turned());
        assert_eq!((refused(&circuits, "create"), circuits.open()), (None, (false, vec![])));
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_not_sent_or_not_answered_proves_nothing() {
        let circuits = Circuits::default();
        send(&circuits, "list", 401);
        tokio::time::advance(PROBE_EVERY).await;
        drop(circuits.admit("list").unwrap());
        let probe = circuits.admit("list").unwrap();
        probe.used(None, "no connection");
        assert_eq!(refused(&circuits, "list"), Some((FaultKind::Unauthorized, 300)));
        tokio::time::advance(PROBE_EVERY).await;
        send(&circuits, "read", 404);
        assert_eq!(refused(&circuits, "list"), None, "a 404 is an answer to somebody who may ask");
    }
}
