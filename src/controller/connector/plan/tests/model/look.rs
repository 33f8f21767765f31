//! What `observe` would give in a state of the model, and what the real plan then decides.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use connectors_api::wire::{
    ConnectorCreated, ConnectorDetail, ConnectorId, ConnectorItem, ConnectorState, TestOutcome,
};
use tokio::time::Instant;

use super::super::{api, fixture};
use super::marks::broken;
use super::state::{CAP, Conn, Entry, Found, NOW, Next, Pass, Recorded, State, Tells, Wake, ago, number};
use super::{Model, SECOND_KEY, Wrong};
use crate::controller::conditions::{READY, is_true};
use crate::controller::connector::desired::Desired;
use crate::controller::connector::observed::{
    Facts, Object, Observed, OpenClaim, Request, Survey, WorkspaceView,
};
use crate::controller::connector::plan::{Effect, Note, plan};
use crate::controller::{Blocked, Reason};
use crate::crd::Claim;
use crate::remote::{Item, Listing, Observation, Sight};

/// The monotonic clock at the model's present.
static CLOCK: LazyLock<Instant> = LazyLock::new(|| Instant::now() + Duration::from_hours(1));
/// How old a truth may be.
const FRESHNESS: u16 = 300;

static SPECS: LazyLock<[Desired; 2]> = LazyLock::new(|| {
    let mut edited = fixture::desired();
    fixture::other_role(&mut edited);
    [fixture::desired(), edited]
});
static REQUESTS: LazyLock<[Request; 2]> =
    LazyLock::new(|| [0, 1].map(|spec| fixture::request(&SPECS[spec], "external-id")));

pub(super) fn uid(number: u8) -> String {
    format!("uid-{number}")
}

fn seconds(age: u16) -> Duration {
    Duration::from_secs(age.into())
}

fn connector_id(id: u8) -> ConnectorId {
    ConnectorId::parse(format!("conn-{id}")).unwrap()
}

fn state_of(conn: &Conn) -> ConnectorState {
    if conn.tested { ConnectorState::Active } else { ConnectorState::PendingTest }
}

fn item(conn: &Conn) -> ConnectorItem {
    let Request { create: sent, readable, .. } = &REQUESTS[usize::from(conn.spec)];
    ConnectorItem {
        id: connector_id(conn.id),
        name: sent.name.clone(),
        provider: sent.config.provider(),
        status: state_of(conn),
        config: readable.clone(),
        last_scan: None,
        findings_count: 0,
        risk_score: None,
        created_at: Some(ago(conn.age)),
    }
}

fn detail(conn: &Conn) -> ConnectorDetail {
    let ConnectorItem { id, name, provider, status, config, created_at, .. } = item(conn);
    ConnectorDetail {
        id,
        name,
        provider,
        status,
        config,
        scan_history: Vec::new(),
        risk_score: None,
        created_at,
        updated_at: None,
    }
}

fn created(conn: &Conn) -> ConnectorCreated {
    let ConnectorItem { id, name, provider, status, created_at, .. } = item(conn);
    ConnectorCreated { id, name, provider, status, created_at }
}

fn outcome(connected: &bool) -> TestOutcome {
    if *connected { fixture::connected() } else { fixture::not_connected() }
}

pub(super) fn facts(found: &Found) -> Facts {
    let Found { listing, claimed, bound, survey, denied, created: made, tested, read, deleted, gone } = found;
    let fault = |failed: &super::state::Failed| api::fault(failed.kind());
    Facts {
        listing: listing.as_ref().map(|(conns, age)| {
            let items = conns.iter().map(|conn| Arc::new(Item::from(item(conn)))).collect();
            Ok(Listing::new(*CLOCK - seconds(*age), items, Vec::new(), None))
        }),
        claimed: claimed.as_ref().map(|(nonce, age)| (nonce.to_string(), seconds(*age))),
        bound: *bound,
        survey: survey.then(Survey::default),
        denied: denied.as_ref().map(|told| told.0.clone()),
        created: made.as_ref().map(|made| made.as_ref().map(created).map_err(fault)),
        tested: tested.as_ref().map(|it| it.as_ref().map(outcome).map_err(fault)),
        read: read.as_ref().map(|read| read.as_ref().map(detail).map_err(fault)),
        deleted: deleted.map(|it| it.map_err(|failed| api::fault(failed.kind()))),
        gone: gone.map(|it| it.map_err(|failed| api::fault(failed.kind()))),
    }
}

impl Model {
    pub(super) fn desired(&self, spec: u8) -> Desired {
        Desired { replace: self.replace, ..SPECS[usize::from(spec)].clone() }
    }

    /// What the pass that replica `r` has in hand is decided on.
    fn observe(&self, s: &mut State, r: usize) -> Observed {
        let State { ledger, replicas, swapped, .. } = s;
        let replica = &mut replicas[r];
        let pass = replica.pass.as_mut().unwrap();
        if std::mem::replace(&mut pass.swapped, *swapped) != *swapped {
            pass.found = Found {
                claimed: pass.found.claimed.take(),
                created: pass.found.created.take(),
                ..Found::default()
            };
        }
        let object = &pass.object;
        let status = object.status.status.clone();
        let me = uid(object.uid);

        // As `observe` has it: read once in a pass where claims matter, else as the watch shows it.
        let claims_matter = status.connector_id.is_none()
            || status.replacement.is_some()
            || object.deleting
            || pass.found.claimed.is_some();
        if claims_matter && pass.ledger.is_none() {
            pass.ledger = Some(ledger.clone());
        }
        let claims = pass.ledger.as_ref().unwrap_or(ledger);
        let claim = claims.iter().find(|entry| entry.claim.uid == me).map(|entry| {
            let Entry { claim, age, renewals, .. } = entry;
            let mut seen = replica.claims.iter();
            let known = seen.find(|(nonce, of, _)| **nonce == *claim.nonce && of == renewals);
            let known_for = known.map_or(0, |(.., age)| *age);
            if known.is_none() {
                replica.claims.push((claim.nonce.as_str().into(), *renewals, 0));
            }
            OpenClaim {
                claim: Claim { claimed_at: ago(*age), ..(**claim).clone() },
                known_for: seconds(known_for),
            }
        });
        let sight = match object.status.id() {
            None => Sight::Unread,
            Some(id) => match replica.seen.iter().find(|(conn, _)| conn.id == id) {
                Some((conn, age)) => {
                    let ConnectorItem { name, provider, config, status, .. } = item(conn);
                    Sight::Seen(Observation {
                        name,
                        provider,
                        config,
                        state: status,
                        risk_score: None,
                        findings_count: Some(0),
                        last_scan: None,
                        read_at: *CLOCK - seconds(*age),
                    })
                }
                None if replica.missing.contains(&id) => Sight::Missing,
                None => Sight::Unread,
            },
        };
        let Request { create, readable, sent } = &REQUESTS[usize::from(object.spec)];
        Observed {
            object: Object {
                uid: me,
                generation: object.generation.into(),
                deleting: object.deleting,
                finalizer: object.finalizer,
                copy: object.copy.as_deref().map(str::to_owned),
                ..fixture::object()
            },
            status,
            request: Ok(Request { create: create.clone(), readable: readable.clone(), sent: sent.clone() }),
            desired: Ok(self.desired(object.spec)),
            workspace: Ok(WorkspaceView {
                identity: if *swapped { SECOND_KEY.to_owned() } else { fixture::workspace().identity },
                changed: *swapped,
                closed: swapped.then(|| Blocked::new(Reason::IdentityChanged, "another key")),
                ..fixture::workspace()
            }),
            sight,
            claim,
            taken: BTreeSet::new(),
            turn: None,
            observing: None,
            elsewhere: None,
            contested: BTreeSet::new(),
            scanned: false,
            freshness: seconds(FRESHNESS),
            uptime: seconds(replica.uptime),
            now: *NOW,
            clock: *CLOCK,
            facts: facts(&pass.found),
        }
    }

    /// Decides what replica `r` does next in the pass that it has in hand, or ends it where there is nothing to do.
    pub(super) fn decide(&self, s: &mut State, r: usize) {
        let mut observed = self.observe(s, r);
        if let Some(wrong) = self.wrong {
            wrong.twist(&mut observed);
        }
        let decided = plan(&observed);
        let replica = &mut s.replicas[r];
        let pass = replica.pass.as_mut().unwrap();
        let there = |id: &ConnectorId| number(id.as_str()).unwrap();
        pass.next = match decided.effect {
            None => {
                let status = Recorded::new(decided.status, 0);
                if status == pass.object.status {
                    replica.pass = None;
                    if decided.requeue.is_some() && replica.wake == Wake::OnChange {
                        replica.wake = Wake::Later;
                    }
                    return;
                }
                // What is said of readiness.
                if is_true(&status.status.conditions, READY) {
                    let seen = status.id().and_then(|id| replica.seen.iter().find(|(conn, _)| conn.id == id));
                    let told = seen.is_some_and(|(conn, age)| {
                        conn.spec == pass.object.spec && conn.tested && *age <= FRESHNESS
                    });
                    if !told || status.status.observed_generation != Some(pass.object.generation.into()) {
                        s.broken.put(broken::S9);
                    }
                }
                Next::Write(status)
            }
            Some(Effect::Record { status, note }) => {
                let tells = match note {
                    Note::LostAtTheApi(_) => Tells::Lost,
                    Note::Recovered(_) => Tells::Recovered,
                    _ => Tells::Other,
                };
                Next::Record(Recorded::new(*status, 0), tells)
            }
            Some(Effect::AddFinalizer) => Next::AddFinalizer,
            Some(Effect::Annotate { value }) => Next::Annotate(value.map(Arc::from)),
            Some(Effect::List) => Next::List,
            Some(Effect::Survey { .. }) => Next::Survey,
            Some(Effect::Claim(claim)) => {
                Next::Claim(Entry { claim: (*claim).into(), age: 0, renewals: 0, posted: false })
            }
            Some(Effect::Bind { nonce }) => Next::Bind(nonce.into()),
            Some(Effect::CloseClaim { nonce, .. } | Effect::GiveUpClaim { nonce }) => {
                Next::CloseClaim(nonce.into())
            }
            Some(Effect::Create) => Next::Create,
            Some(Effect::Test(id)) => Next::Test(there(&id)),
            Some(Effect::Read(id)) => Next::Read(there(&id)),
            Some(Effect::Delete(id)) => Next::Delete(there(&id)),
            Some(Effect::ConfirmGone(id)) => Next::ConfirmGone(there(&id)),
            Some(Effect::Release { .. }) => Next::Release,
            Some(Effect::DropFinalizer) => unreachable!("no spec of the model only observes"),
        };
    }
}

/// Puts the pass's first look into the model; `None` where there is nothing to do.
pub(super) fn begin(object: super::state::Stored, current: bool, swapped: bool) -> Pass {
    Pass { object, current, ledger: None, found: Found::default(), swapped, next: Next::List }
}

impl Wrong {
    /// What a wrong plan would be made from.
    fn twist(self, o: &mut Observed) {
        use crate::remote::FaultKind;
        let long_ago = ago(CAP);
        let not_found = |read: &Option<Result<ConnectorDetail, crate::remote::Fault>>| matches!(read, Some(Err(fault)) if fault.kind == FaultKind::NotFound);
        match self {
            Self::OneNotFoundAsGone if not_found(&o.facts.read) => o.sight = Sight::Missing,
            Self::ListAsAbsence if o.sight == Sight::Missing => {
                o.facts.read = Some(Err(api::fault(FaultKind::NotFound)));
            }
            Self::FinalizerAfterPost if o.status.connector_id.is_none() => o.object.finalizer = true,
            Self::FinalizerGoesWithTheDelete if o.facts.deleted.is_some() => o.facts.gone = Some(Ok(true)),
            Self::PostAgainOnLostAnswer if matches!(&o.facts.created, Some(Err(fault)) if fault.kind == FaultKind::OutcomeUnknown) =>
            {
                o.facts.created = None;
            }
            Self::NoWaitForWhatMayCommit => {
                if let Some(open) = &mut o.claim {
                    open.known_for = seconds(CAP);
                }
            }
            Self::AnyKeyBelieved => {
                if let Ok(workspace) = &mut o.workspace {
                    let made_with =
                        o.status.identity.clone().or(o.claim.as_ref().map(|c| c.claim.identity.clone()));
                    workspace.identity = made_with.unwrap_or(workspace.identity.clone());
                }
            }
            Self::RenewalForgotten => {
                if let Some((_, age)) = &mut o.facts.claimed {
                    *age = Duration::ZERO;
                }
            }
            _ => {}
        }
        if matches!(self, Self::OneNotFoundAsGone | Self::ListAsAbsence) {
            for condition in &mut o.status.conditions {
                condition.last_transition_time.0 = long_ago;
            }
        }
    }
}
