//! Gathers everything that a schedule's plan is made from. The schedule itself was read by the caller; connectors and Scans
//! are as the watches tell, since a Scan that is made twice has one name, and one that is made too early waits.

use kube::core::{Selector, SelectorExt};
use kube::{Resource, ResourceExt};

use super::observed::{Around, Facts, Object, Observed, Owned};
use crate::controller::{Context, Link, ObjectKey};
use crate::crd::{Connector, ManagementPolicy, RUN_REQUESTED_ANNOTATION, Scan, ScanPhase, ScanSchedule};

/// Longest value of a request that a status keeps.
const REQUEST_LIMIT: usize = 256;

impl Around {
    /// Looks around. None while the caches are being filled: what they lack would say nothing.
    pub(super) fn of(schedule: &ScanSchedule, ctx: &Context) -> Option<Self> {
        let key = ObjectKey::of(&schedule.metadata);
        let (connectors, scans) = (&ctx.caches.connectors, &ctx.caches.scans);
        if !connectors.filled(&key.namespace) || !scans.filled(&key.namespace) {
            return None;
        }
        let uid = schedule.uid().unwrap_or_default();
        let mut owned = Vec::new();
        for name in ctx.index.referring::<Scan>(&Link::Schedule(key)) {
            let found = scans.get(&name);
            owned.extend(found.and_then(|found| found.0.as_ref().ok().and_then(|scan| seen(scan, &uid))));
        }
        Some(Self { connectors: selected(schedule, ctx), scans: owned })
    }
}

/// Puts together what is known.
pub(super) fn observe(schedule: &ScanSchedule, around: Around, facts: Facts) -> Observed {
    let object = Object {
        namespace: schedule.namespace().unwrap_or_default(),
        name: schedule.name_any(),
        uid: schedule.uid().unwrap_or_default(),
        generation: schedule.metadata.generation.unwrap_or_default(),
        created: schedule.metadata.creation_timestamp.as_ref().map(|time| time.0),
        deleting: schedule.metadata.deletion_timestamp.is_some(),
        request: schedule
            .annotations()
            .get(RUN_REQUESTED_ANNOTATION)
            .map(|text| text.chars().take(REQUEST_LIMIT).collect()),
    };
    Observed {
        spec: schedule.spec.clone(),
        status: schedule.status.clone().unwrap_or_default(),
        object,
        around,
        now: crate::clock::now(),
        facts,
    }
}

/// A Scan, if the schedule of that UID controls it.
fn seen(scan: &Scan, schedule: &str) -> Option<Owned> {
    scan.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.uid == schedule)?;
    let status = scan.status.clone().unwrap_or_default();
    Some(Owned {
        name: scan.name_any(),
        uid: scan.uid().unwrap_or_default(),
        version: scan.resource_version(),
        connector: scan.spec.connector_ref.name.clone(),
        phase: status.phase.unwrap_or(ScanPhase::Pending),
        begun: status.scan_id.is_some(),
        created: scan.metadata.creation_timestamp.as_ref().map(|time| time.0),
        ended: status.completion_time,
        deleting: scan.metadata.deletion_timestamp.is_some(),
    })
}

/// The connectors to scan; or what is wrong with the selector.
fn selected(schedule: &ScanSchedule, ctx: &Context) -> Result<Vec<String>, String> {
    let namespace = schedule.namespace().unwrap_or_default();
    if let Some(reference) = &schedule.spec.connector_ref {
        let key = ObjectKey { namespace, name: reference.name.clone() };
        // One that cannot be read is there all the same; its Scan says what is wrong.
        let there = ctx.caches.connectors.get(&key).filter(|it| it.meta().deletion_timestamp.is_none());
        return Ok(there.map(|_| key.name).into_iter().collect());
    }
    let Some(selector) = schedule.spec.connector_selector.clone() else { return Ok(Vec::new()) };
    let selector = Selector::try_from(selector).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    for connector in ctx.caches.connectors.all(&namespace) {
        names.extend(connector.0.as_ref().ok().filter(|it| fits(it, &selector)).map(ResourceExt::name_any));
    }
    Ok(names)
}

fn fits(connector: &Connector, selector: &Selector) -> bool {
    connector.metadata.deletion_timestamp.is_none()
        && connector.spec.management_policy == ManagementPolicy::Manage
        && selector.matches(connector.labels())
}
