//! A small world around the plan: one object, one workspace, one API, one clock. Effects are applied to it as `act` applies
//! them, and each is held against what must never happen, whoever died when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use connectors_api::wire::ConnectorId;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::api::{Api, observation};
use super::fixture;
use crate::controller::Blocked;
use crate::controller::connector::desired::Desired;
use crate::controller::connector::observed::{
    Facts, Object, Observed, OpenClaim, Survey, Watched, WorkspaceView,
};
use crate::controller::connector::plan::{Effect, Plan, plan};
use crate::controller::ledger::{self, Ending};
use crate::crd::{Claim, ClaimKind, ConnectorStatus, WorkspaceKey, WorkspaceStatus};
use crate::remote::{Alarm, Fault, FaultKind, Item, Listing, Observation, Sight};

/// Passes without a change after which a world is at rest.
const REST: usize = 14;
/// The longest that any story may take.
const HORIZON: Duration = Duration::from_hours(30);

/// What lives and dies with the operator's process.
pub(super) struct Memory {
    started: Timestamp,
    claims_seen: BTreeMap<(String, Timestamp), Timestamp>,
    seen: BTreeMap<ConnectorId, (Observation, Timestamp)>,
    missing: BTreeSet<ConnectorId>,
}

/// What lives and dies with one reconcile.
#[derive(Default)]
pub(super) struct Pass {
    pub facts: Facts,
    pub claimed: Option<(String, Timestamp)>,
}

pub(super) struct World {
    pub now: Timestamp,
    /// How long each effect takes, in seconds.
    pub pace: i64,
    pub object: Object,
    pub status: ConnectorStatus,
    pub desired: Result<Desired, Blocked>,
    pub secret: Result<String, Blocked>,
    pub workspace: Result<WorkspaceView, Blocked>,
    pub ledger: WorkspaceStatus,
    pub creates_per_hour: u32,
    pub api: Api,
    pub polls: bool,
    pub scanned: bool,
    /// The nonce of a claim that is open in another workspace than the one that the spec names, and that one.
    pub elsewhere: Option<(String, WorkspaceKey)>,
    pub taken: BTreeSet<String>,
    pub contested: BTreeSet<String>,
    /// What is said of who else has an id.
    pub survey: Survey,
    pub observing: Option<Watched>,
    pub memory: Memory,
    /// The monotonic clock at the begin.
    epoch: Instant,
    /// The object is gone: its finalizer was taken off while it was being deleted.
    pub released: bool,
    /// Effects carried out, and statuses written without one, in their order.
    pub log: Vec<String>,
    /// The claim of each POST.
    pub posts: Vec<Claim>,
    nonces: u32,
}

/// What one step came to.
#[derive(Debug)]
pub(super) enum Step {
    /// An effect was carried out, and the pass goes on.
    Acted,
    /// A status was written, and the pass is over.
    Wrote(Option<Duration>),
    /// There was nothing to do, and the pass is over.
    Quiet(Option<Duration>),
}

impl Memory {
    fn new(started: Timestamp) -> Self {
        Self { started, claims_seen: BTreeMap::new(), seen: BTreeMap::new(), missing: BTreeSet::new() }
    }
}

impl World {
    /// An object that was just applied, and an API that has nothing.
    pub(super) fn new() -> Self {
        let now = fixture::at(0);
        Self {
            now,
            pace: 1,
            object: fixture::object(),
            status: ConnectorStatus { observed_generation: Some(-1), ..ConnectorStatus::default() },
            desired: Ok(fixture::desired()),
            secret: Ok("canary-external-id".to_owned()),
            workspace: Ok(fixture::workspace()),
            ledger: WorkspaceStatus::default(),
            creates_per_hour: 20,
            api: Api::default(),
            polls: true,
            scanned: false,
            elsewhere: None,
            taken: BTreeSet::new(),
            contested: BTreeSet::new(),
            survey: Survey::default(),
            observing: None,
            memory: Memory::new(now),
            epoch: Instant::now(),
            released: false,
            log: Vec::new(),
            posts: Vec::new(),
            nonces: 0,
        }
    }

    /// One whose connector was created and tested a while ago, and where nothing is left to do.
    pub(super) fn ready() -> Self {
        let mut world = Self::new();
        world.run(&[]);
        world.assert_one_and_ready();
        world.pass(300);
        world.log.clear();
        world
    }

    /// The same, being deleted.
    pub(super) fn deleting() -> Self {
        let mut world = Self::ready();
        world.object.deleting = true;
        world
    }

    /// Lets that many seconds go by, with a poll at the end.
    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        if self.polls {
            let _ = self.list();
        }
    }

    /// The spec is edited.
    pub(super) fn edit(&mut self, change: impl FnOnce(&mut Desired)) {
        change(self.desired.as_mut().unwrap());
        self.object.generation += 1;
    }

    /// The connector is deleted by somebody else.
    pub(super) fn vanish(&mut self) {
        self.api.connectors.iter_mut().for_each(|it| it.gone_at = Some(self.now));
    }

    /// The workspace has another key: what the old one showed is forgotten.
    pub(super) fn rotate(&mut self, identity: &str) {
        self.workspace = Ok(WorkspaceView { identity: identity.to_owned(), ..fixture::workspace() });
        self.memory.seen.clear();
        self.memory.missing.clear();
    }

    /// The operator dies and is started again.
    pub(super) fn crash(&mut self) {
        self.now += SignedDuration::from_secs(5);
        self.memory = Memory::new(self.now);
    }

    /// Runs until nothing is left to do, dying after each of the steps whose numbers are given, counted from the begin of
    /// the run. Gives the number of steps that did something.
    pub(super) fn run(&mut self, crashes: &[usize]) -> usize {
        let (begun, mut steps, mut calm, mut length) = (self.now, 0, 0, 0);
        let mut pass = Pass::default();
        while !self.released && calm < REST {
            let lasted = Duration::try_from(self.now.duration_since(begun)).unwrap();
            assert!(
                lasted < HORIZON,
                "no rest in {lasted:?}: {:?} {:?}",
                &self.log[self.log.len().saturating_sub(30)..],
                self.status
            );
            let done = self.log.len();
            let step = self.step(&mut pass);
            length += 1;
            assert!(length <= 32, "the plan does not come to rest within one pass: {:#?}", self.log);
            // Reads change nothing, so that who only reads is at rest.
            if self.log[done..]
                .iter()
                .any(|word| !matches!(word.as_str(), "list" | "read" | "confirm" | "survey"))
            {
                calm = 0;
            }
            if self.log.len() > done {
                steps += 1;
                if crashes.contains(&steps) {
                    self.log.push("† crash".to_owned());
                    self.crash();
                    (pass, length, calm) = (Pass::default(), 0, 0);
                    continue;
                }
            }
            if let Step::Wrote(requeue) | Step::Quiet(requeue) = step {
                calm += 1;
                (pass, length) = (Pass::default(), 0);
                let wait = requeue.unwrap_or(Duration::from_mins(1)).max(Duration::from_secs(1));
                self.pass(i64::try_from(wait.as_secs()).unwrap());
            }
        }
        steps
    }

    /// Runs that many steps, and then leaves everything as it is.
    pub(super) fn run_until(&mut self, moment: usize) {
        let mut pass = Pass::default();
        let done = self.log.len();
        for _ in 0..1000 {
            if self.log.len() - done >= moment {
                return;
            }
            if let Step::Wrote(requeue) | Step::Quiet(requeue) = self.step(&mut pass) {
                if self.log.len() - done >= moment {
                    return;
                }
                let wait = requeue.map_or(61, |wait| i64::try_from(wait.as_secs()).unwrap());
                pass = Pass::default();
                self.pass(wait.max(1));
            }
        }
        panic!("no step {moment}: {:#?}", self.log);
    }

    /// One pass to its end. Gives when it wants to look again.
    pub(super) fn one_pass(&mut self) -> Option<Duration> {
        self.finish(Pass::default())
    }

    /// The rest of a pass.
    pub(super) fn finish(&mut self, mut pass: Pass) -> Option<Duration> {
        for _ in 0..32 {
            match self.step(&mut pass) {
                Step::Acted if self.released => return None,
                Step::Acted => {}
                Step::Wrote(requeue) | Step::Quiet(requeue) => return requeue,
            }
        }
        panic!("the plan does not come to rest within one pass: {:#?}", self.log);
    }

    /// Runs one pass up to the effect of that name, without carrying it out, and gives the pass.
    pub(super) fn until(&mut self, word: &str) -> Pass {
        let mut pass = Pass::default();
        for _ in 0..32 {
            let observed = self.observe(&mut pass);
            let next = plan(&observed);
            pass.facts = observed.facts;
            if next.effect.as_ref().is_some_and(|effect| name(effect) == word) {
                return pass;
            }
            assert!(matches!(self.step(&mut pass), Step::Acted), "no {word} in {:#?}", self.log);
        }
        panic!("no {word} in {:#?}", self.log);
    }

    /// Plans once, and carries it out.
    pub(super) fn step(&mut self, pass: &mut Pass) -> Step {
        let observed = self.observe(pass);
        let Plan { effect, status, requeue } = plan(&observed);
        let again = plan(&observed);
        assert_eq!((&effect, &status, requeue), (&again.effect, &again.status, again.requeue), "not pure");
        let request = observed.request;
        pass.facts = observed.facts;
        let Some(effect) = effect else {
            if status == self.status {
                return Step::Quiet(requeue);
            }
            self.write(status);
            self.log.push("status".to_owned());
            let settled = self.observe(pass);
            // A test's outcome counts once, and its pass is over.
            if settled.facts.tested.is_none() {
                let again = plan(&settled);
                assert!(
                    again.effect.is_some() || again.status == self.status,
                    "written twice: {:#?}",
                    self.log
                );
            }
            return Step::Wrote(requeue);
        };
        self.log.push(name(&effect).to_owned());
        self.now += SignedDuration::from_secs(self.pace);
        match effect {
            Effect::Record { status, note } => {
                let before = self.status.clone();
                if before.adopting != status.adopting {
                    self.check_taking(&status, &pass.facts);
                }
                self.write(*status);
                self.change_hands(&note);
                pass.facts.after_record(&before, &self.status);
            }
            Effect::AddFinalizer => self.object.finalizer = true,
            Effect::Annotate { value } => self.object.copy = value,
            Effect::DropFinalizer => {
                self.check_drop();
                self.object.finalizer = false;
            }
            Effect::Survey { id, name: _ } => {
                assert_eq!(self.status.adopting.as_deref(), Some(id.as_str()), "the wish comes first");
                pass.facts.survey = Some(self.survey.clone());
            }
            Effect::List => pass.facts.listing = Some(self.list()),
            Effect::Claim(mut claim) => {
                if claim.nonce.is_empty() {
                    self.nonces += 1;
                    claim.nonce = format!("nonce-{}", self.nonces);
                }
                let nonce = claim.nonce.clone();
                match ledger::open(&mut self.ledger, *claim, self.creates_per_hour, self.now) {
                    Ok(()) => pass.claimed = Some((nonce, self.now)),
                    Err(denied) => pass.facts.denied = Some(denied),
                }
                pass.facts.bound = false;
            }
            Effect::Bind { nonce } => {
                self.write(ConnectorStatus { claim: Some(nonce), ..self.status.clone() });
                pass.facts.bound = true;
            }
            Effect::CloseClaim { nonce, why: _ } => self.close(&nonce, observed.claim, Ending::Settled, pass),
            Effect::GiveUpClaim { nonce } => self.close(&nonce, observed.claim, Ending::Lost, pass),
            Effect::Create => {
                let request = request.unwrap();
                let claim = self.check_create(&request, pass.claimed.as_ref());
                self.posts.push(claim);
                pass.facts.created = Some(self.api.create(&request.create, self.now));
            }
            Effect::Test(id) => pass.facts.tested = Some(self.api.test(&id, self.now)),
            Effect::Read(id) => pass.facts.read = Some(self.read(&id)),
            Effect::Delete(id) => {
                self.check_delete(&id);
                pass.facts.deleted = Some(self.api.delete(&id, self.now));
            }
            Effect::ConfirmGone(id) => {
                pass.facts.gone = Some(match self.read(&id) {
                    Ok(_) => Ok(false),
                    Err(fault) if fault.kind == FaultKind::NotFound => {
                        self.memory.seen.remove(&id);
                        self.memory.missing.remove(&id);
                        Ok(true)
                    }
                    Err(fault) => Err(fault),
                });
            }
            Effect::Release { note: _ } => {
                self.check_release();
                (self.object.finalizer, self.released) = (false, true);
            }
        }
        Step::Acted
    }

    /// What `observe` would give.
    pub(super) fn observe(&mut self, pass: &mut Pass) -> Observed {
        let claim = ledger::of(&self.ledger, ClaimKind::Connector, &self.object.uid).cloned().map(|claim| {
            let version = (claim.nonce.clone(), claim.claimed_at);
            let first = *self.memory.claims_seen.entry(version).or_insert(self.now);
            OpenClaim { claim, known_for: since(first, self.now) }
        });
        let elsewhere = self.elsewhere.clone().and_then(|(nonce, named)| {
            claim.as_ref().filter(|open: &&OpenClaim| open.claim.nonce == nonce).map(|_| named)
        });
        let id = self.status.connector_id.as_deref().and_then(|id| ConnectorId::parse(id).ok());
        let id = id.or(self.observing.as_ref().map(|watched| watched.id.clone()));
        let sight = match id.filter(|_| self.workspace.is_ok()) {
            None => Sight::Unread,
            Some(id) => match self.memory.seen.get(&id) {
                Some((seen, at)) => Sight::Seen(Observation {
                    read_at: self.epoch + since(fixture::at(0), *at),
                    ..seen.clone()
                }),
                None if self.memory.missing.contains(&id) => Sight::Missing,
                None => Sight::Unread,
            },
        };
        let request = match (&self.desired, &self.secret) {
            (Ok(desired), Ok(secret)) => Ok(fixture::request(desired, secret)),
            (Err(blocked), _) | (_, Err(blocked)) => Err(blocked.clone()),
        };
        let mut facts = std::mem::take(&mut pass.facts);
        facts.claimed = pass.claimed.as_ref().map(|(nonce, at)| (nonce.clone(), since(*at, self.now)));
        let adopting = self.status.connector_id.is_none();
        let taken = if facts.listing.is_some() || adopting { self.taken.clone() } else { BTreeSet::new() };
        Observed {
            turn: None,
            observing: self.observing.clone(),
            object: self.object.clone(),
            status: self.status.clone(),
            desired: self.desired.clone(),
            workspace: self.workspace.clone(),
            request,
            sight,
            claim,
            elsewhere,
            taken,
            contested: self.contested.clone(),
            scanned: self.scanned,
            freshness: Duration::from_mins(5),
            uptime: since(self.memory.started, self.now),
            now: self.now,
            clock: self.epoch + since(fixture::at(0), self.now),
            facts,
        }
    }

    fn write(&mut self, status: ConnectorStatus) {
        assert!(status.observed_generation >= self.status.observed_generation, "it never falls");
        assert!(status.scan_history.len() <= 10 && status.conditions.len() <= 8);
        let bounded = |text: &Option<String>| text.as_ref().is_none_or(|text| text.chars().count() <= 256);
        assert!(bounded(&status.connector_id) && bounded(&status.last_handled_reconcile_at));
        let text = serde_json::to_string(&status).unwrap();
        assert!(!text.contains("canary"), "{text}");
        self.check_truth(&status);
        self.status = serde_json::from_str(&text).unwrap();
        assert_eq!(self.status, status, "a status reads back as it was written");
    }

    /// What this process saw last of a connector.
    pub(super) fn last_seen(&self, id: &str) -> Option<&Observation> {
        self.memory.seen.iter().find(|(known, _)| known.as_str() == id).map(|(_, (seen, _))| seen)
    }

    fn list(&mut self) -> Result<Listing, Fault> {
        let items = self.api.list(self.now)?;
        let memory = &mut self.memory;
        let before = memory.seen.len();
        let alarm = (before > 4 && items.len() < before / 2).then_some(Alarm { before, now: items.len() });
        if alarm.is_none() {
            let listed = items.iter().map(|item| item.id.clone()).collect::<BTreeSet<_>>();
            let gone = memory.seen.keys().filter(|id| !listed.contains(*id)).cloned().collect::<Vec<_>>();
            for id in gone {
                memory.seen.remove(&id);
                memory.missing.insert(id);
            }
        }
        for item in &items {
            memory.missing.remove(&item.id);
            memory.seen.insert(item.id.clone(), (observation(item), self.now));
        }
        let items = items.into_iter().map(|item| Arc::new(Item::from(item))).collect();
        Ok(Listing::new(self.epoch + since(fixture::at(0), self.now), items, Vec::new(), alarm))
    }

    fn read(&mut self, id: &ConnectorId) -> Result<connectors_api::wire::ConnectorDetail, Fault> {
        let detail = self.api.read(id, self.now)?;
        let before = self.memory.seen.get(id).map(|(before, _)| before.clone());
        let found = self.api.alive(self.now).find(|it| it.item.id == *id).map(|it| observation(&it.item));
        let findings = before.as_ref().and_then(|before| before.findings_count);
        let seen = Observation {
            // What only lists tell stays as the last list told it.
            findings_count: if detail.scan_history.is_empty() { Some(0) } else { findings },
            last_scan: before.and_then(|before| before.last_scan),
            ..found.unwrap()
        };
        self.memory.missing.remove(id);
        self.memory.seen.insert(id.clone(), (seen, self.now));
        Ok(detail)
    }
}

pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap()
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Record { .. } => "record",
        Effect::AddFinalizer => "finalizer",
        Effect::Annotate { .. } => "annotate",
        Effect::List => "list",
        Effect::Claim(_) => "claim",
        Effect::Bind { .. } => "bind",
        Effect::CloseClaim { .. } | Effect::GiveUpClaim { .. } => "close",
        Effect::DropFinalizer => "drop",
        Effect::Survey { .. } => "survey",
        Effect::Create => "create",
        Effect::Test(_) => "test",
        Effect::Read(_) => "read",
        Effect::Delete(_) => "delete",
        Effect::ConfirmGone(_) => "confirm",
        Effect::Release { .. } => "release",
    }
}
