//! Which replica acts. The decision is pure; leadership carries an expiry on our own monotonic clock, shorter than the
//! lease, and is asked for at the moment of each effect. Two replicas that both believe to lead still create nothing
//! twice: the guarded writes see to that.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::ObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Error, writes};
use crate::telemetry::Metrics;

/// How long others leave a silent holder alone.
const LEASE: Duration = Duration::from_secs(15);
/// How long a renewal is believed by the holder itself.
const BELIEVED: Duration = Duration::from_secs(10);
/// How often the holder renews and the others look.
const PERIOD: Duration = Duration::from_secs(3);
/// The Lease's name, in the operator's namespace.
const NAME: &str = "slimio-operator";

/// Whether this replica leads, at this moment.
#[derive(Clone, Debug)]
pub struct Leadership {
    until: Option<Arc<Mutex<Option<Instant>>>>,
}

impl Leadership {
    /// How soon an object of a replica that does not lead is looked at again. No request is made for it meanwhile.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

    /// The only replica: it always leads.
    pub fn alone() -> Self {
        Self { until: None }
    }

    /// One of several: it leads while it holds the lease.
    pub fn elected() -> Self {
        Self { until: Some(Arc::default()) }
    }

    /// Whether an effect may be begun now.
    pub fn leads(&self) -> bool {
        self.until.as_ref().is_none_or(|until| until.lock().is_some_and(|until| Instant::now() < until))
    }

    /// Waits a moment for the first attempt at the lease: where it is free, no object need be looked at twice.
    pub async fn first_attempt(&self) {
        let attempt = async {
            while !self.leads() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Where another replica holds it there is nothing to wait for.
        let _ = tokio::time::timeout(Duration::from_secs(1), attempt).await;
    }

    pub(super) fn set(&self, until: Option<Instant>) {
        if let Some(mine) = &self.until {
            *mine.lock() = until;
        }
    }
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// Write it: it is free, or its holder has been silent for too long.
    Acquire,
    /// Write it: it is ours.
    Renew,
    /// Leave it alone.
    Wait,
}

/// What to do about a lease that `holder` has, which did not change for `unchanged` on our own clock.
pub(super) fn decide(holder: Option<&str>, duration: Duration, unchanged: Duration, me: &str) -> Decision {
    match holder {
        None | Some("") => Decision::Acquire,
        Some(holder) if holder == me => Decision::Renew,
        Some(_) if unchanged > duration => Decision::Acquire,
        Some(_) => Decision::Wait,
    }
}

/// Takes and keeps the lease until `stop`, and gives it back then.
pub(super) async fn campaign(
    client: Client,
    namespace: String,
    me: String,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    stop: impl Future<Output = ()>,
) {
    let api = Api::<Lease>::namespaced(client, &namespace);
    let mut watched = Watched::default();
    let (mut led, mut failing) = (false, false);
    tokio::pin!(stop);
    loop {
        let asked = Instant::now();
        let stepped = step(&api, &me, &mut watched).await;
        // Said once, until it works again.
        let failed_before = std::mem::replace(&mut failing, stepped.is_err());
        match stepped {
            Ok(true) => {
                if !leadership.leads() {
                    tracing::info!(lease = NAME, namespace, holder = me, "leading");
                }
                leadership.set(Some(asked + BELIEVED));
            }
            Ok(false) => {
                if leadership.leads() {
                    tracing::warn!(lease = NAME, namespace, "another replica took the lease");
                }
                leadership.set(None);
            }
            Err(error) if !failed_before => {
                tracing::warn!(%error, lease = NAME, namespace, "cannot renew the lease; it is tried again");
            }
            Err(_) if led && !leadership.leads() => {
                tracing::warn!(
                    lease = NAME,
                    namespace,
                    "the lease was not renewed in time: nothing is done until it is"
                );
            }
            Err(_) => {}
        }
        led = leadership.leads();
        metrics.leads(led);
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = &mut stop => break,
        }
    }
    if leadership.leads() {
        leadership.set(None);
        if let Err(error) = give_back(&api, &me).await {
            tracing::warn!(%error, lease = NAME, namespace, "cannot give the lease back; another replica waits for its end");
        }
    }
}

/// The lease as it was last seen to change.
#[derive(Default)]
struct Watched {
    version: Option<String>,
    since: Option<Instant>,
}

impl Watched {
    /// For how long it has been seen to have that version.
    fn look(&mut self, version: Option<String>, now: Instant) -> Duration {
        if self.version != version {
            (self.version, self.since) = (version, None);
        }
        now.saturating_duration_since(*self.since.get_or_insert(now))
    }
}

async fn step(api: &Api<Lease>, me: &str, watched: &mut Watched) -> Result<bool, Error> {
    let found = api.get_opt(NAME).await.map_err(Error::kubernetes("read the lease"))?;
    let version = found.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
    let unchanged = watched.look(version, Instant::now());
    let spec = found.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let duration = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(LEASE, Duration::from_secs);
    let decision = decide(spec.holder_identity.as_deref(), duration, unchanged, me);
    if decision == Decision::Wait {
        return Ok(false);
    }
    let now = MicroTime(crate::clock::now());
    let taken = decision == Decision::Acquire;
    let lease = Lease {
        metadata: found.as_ref().map_or_else(
            || ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
            |lease| lease.metadata.clone(),
        ),
        spec: Some(LeaseSpec {
            holder_identity: Some(me.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if taken { Some(now.clone()) } else { spec.acquire_time },
            renew_time: Some(now),
            lease_transitions: Some(
                spec.lease_transitions.unwrap_or(0) + i32::from(taken && found.is_some()),
            ),
            ..LeaseSpec::default()
        }),
    };
    let params = writes::post();
    let written = if found.is_some() {
        api.replace(NAME, &params, &lease).await
    } else {
        api.create(&params, &lease).await
    };
    match written.map_err(Error::kubernetes("write the lease")) {
        Ok(_) => Ok(true),
        Err(Error::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn give_back(api: &Api<Lease>, me: &str) -> Result<(), Error> {
    let Some(mut lease) = api.get_opt(NAME).await.map_err(Error::kubernetes("read the lease"))? else {
        return Ok(());
    };
    if let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(me)) {
        spec.holder_identity = Some(String::new());
        let params = writes::post();
        api.replace(NAME, &params, &lease).await.map_err(Error::kubernetes("give the lease back"))?;
    }
    Ok(())
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_its_holder_silent() {
        let (lease, silent) = (Duration::from_secs(15), Duration::from_secs(16));
        assert_eq!(decide(None, lease, Duration::ZERO, "me"), Decision::Acquire);
        assert_eq!(decide(Some(""), lease, Duration::ZERO, "me"), Decision::Acquire);
        assert_eq!(decide(Some("me"), lease, silent, "me"), Decision::Renew);
        assert_eq!(decide(Some("other"), lease, lease, "me"), Decision::Wait);
        assert_eq!(decide(Some("other"), lease, silent, "me"), Decision::Acquire);
    }

    #[test]
    fn what_is_believed_ends_before_the_lease_does() {
        assert!(BELIEVED + PERIOD < LEASE);
        let leadership = Leadership::elected();
        assert!(!leadership.leads());
        leadership.set(Some(Instant::now() + BELIEVED));
        assert!(leadership.leads());
        leadership.set(Some(Instant::now()));
        assert!(!leadership.leads(), "it expires by itself");
        assert!(Leadership::alone().leads());
    }
}
