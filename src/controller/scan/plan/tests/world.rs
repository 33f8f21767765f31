//! A small world around the plan: one Scan, one connector at one API, one clock. Effects are applied to it as `act` applies
//! them, and each is held against what must never happen, whoever died when.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use connectors_api::wire::{
    ConnectorDetail, ConnectorId, ConnectorState, Provider, ScanHistoryEntry, ScanId, ScanOptions,
    ScanProgress, ScanRead, ScanStarted, ScanState, ScanType, StartScan,
};
use jiff::{SignedDuration, Timestamp};

use crate::controller::Blocked;
use crate::controller::conditions::find;
use crate::controller::ledger;
use crate::controller::scan::observed::{Facts, Object, Observed, Target};
use crate::controller::scan::plan::{Effect, Plan, plan};
use crate::crd::{self, ClaimKind, ConnectorRef, ScanPhase, ScanSpec, ScanStatus, WorkspaceStatus};
use crate::remote::{Fault, FaultKind};

/// Passes without a change after which a world is at rest.
const REST: usize = 200;

/// How the API takes the POST.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Answer {
    /// Done and answered.
    Started,
    /// Done; the answer is lost.
    StartedUnheard,
    /// Done, or shown, that many seconds later; the answer is lost.
    StartedLate(i64),
    /// Not done; the answer says nothing.
    Unheard,
    /// Not done, and said so.
    Refused(FaultKind),
}

/// A scan at the API.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    pub read: ScanRead,
    /// Whether the object started it.
    pub ours: bool,
    pub shown_from: Timestamp,
}

#[derive(Default)]
pub(super) struct Pass {
    facts: Facts,
    claimed: Option<(String, Timestamp)>,
}

pub(super) struct World {
    pub now: Timestamp,
    pub pace: i64,
    pub object: Object,
    pub spec: ScanSpec,
    pub status: ScanStatus,
    pub connector: Result<Target, Blocked>,
    pub ledger: WorkspaceStatus,
    pub scans: Vec<Remote>,
    /// What happens to the next POSTs; `Started` afterwards.
    pub answers: VecDeque<Answer>,
    /// What every read gets instead of an answer.
    pub down: Option<FaultKind>,
    /// There is no `GET /scans/:id`.
    pub no_route: bool,
    /// The history shows only what is over.
    pub finished_only: bool,
    /// The connector is gone from the API.
    pub connector_gone: bool,
    /// How long a scan runs, in seconds; without end where it is none.
    pub lasts: Option<i64>,
    /// How a scan ends.
    pub ends: ScanState,
    /// The object was deleted, since its time was over.
    pub expired: bool,
    pub log: Vec<String>,
    pub posts: Vec<String>,
    claims_seen: BTreeMap<String, Timestamp>,
    nonces: u32,
}

#[derive(Debug)]
pub(super) enum Step {
    Acted,
    Wrote(Option<Duration>),
    Quiet(Option<Duration>),
}

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + second)
}

pub(super) fn fault(kind: FaultKind) -> Fault {
    Fault { kind, message: format!("the API said {kind:?}"), retry_after: None }
}

impl World {
    /// A Scan that was just applied, and a connector that can be scanned.
    pub(super) fn new() -> Self {
        Self {
            now: at(0),
            pace: 1,
            object: Object {
                namespace: "team".to_owned(),
                name: "look".to_owned(),
                uid: "uid-1".to_owned(),
                generation: 1,
                created: Some(at(0)),
                deleting: false,
                ran: None,
            },
            spec: ScanSpec {
                connector_ref: ConnectorRef { name: "lake".to_owned() },
                scan_type: crd::ScanType::Full,
                options: None,
                starting_deadline_seconds: None,
                active_deadline_seconds: None,
                ttl_seconds_after_finished: None,
            },
            status: ScanStatus { observed_generation: Some(-1), ..ScanStatus::default() },
            connector: Ok(Target {
                id: ConnectorId::parse("conn-1").unwrap(),
                identity: "identity-1".to_owned(),
            }),
            ledger: WorkspaceStatus::default(),
            scans: Vec::new(),
            answers: VecDeque::new(),
            down: None,
            no_route: false,
            finished_only: false,
            connector_gone: false,
            lasts: Some(60),
            ends: ScanState::Completed,
            expired: false,
            log: Vec::new(),
            posts: Vec::new(),
            claims_seen: BTreeMap::new(),
            nonces: 0,
        }
    }

    /// One whose scan runs and has no end yet.
    pub(super) fn running() -> Self {
        let mut world = Self::new();
        world.lasts = None;
        world.one_pass();
        assert_eq!(world.status.phase, Some(ScanPhase::Running), "{:#?}", world.log);
        world.log.clear();
        world
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.progress();
    }

    /// The operator dies and is started again.
    pub(super) fn crash(&mut self) {
        self.log.push("† crash".to_owned());
        self.pass(5);
        self.claims_seen.clear();
    }

    /// Runs until nothing is left to do, dying after each of the steps whose numbers are given. Gives their number.
    pub(super) fn run(&mut self, crashes: &[usize]) -> usize {
        let (mut steps, mut calm, mut length) = (0, 0, 0);
        let mut pass = Pass::default();
        while calm < REST {
            assert!(self.now < at(200_000), "no rest: {:#?}", self.log);
            let done = self.log.len();
            let step = self.step(&mut pass);
            length += 1;
            assert!(length <= 24, "the plan does not come to rest within one pass: {:#?}", self.log);
            if self.log[done..].iter().any(|word| !word.starts_with("read")) {
                calm = 0;
            }
            if self.log.len() > done {
                steps += 1;
                if crashes.contains(&steps) {
                    self.crash();
                    (pass, length, calm) = (Pass::default(), 0, 0);
                    continue;
                }
            }
            if let Step::Wrote(requeue) | Step::Quiet(requeue) = step {
                // Without a time to look again, nothing would happen any more.
                calm = if requeue.is_none() { REST } else { calm + 1 };
                (pass, length) = (Pass::default(), 0);
                self.pass(requeue.map_or(1, |wait| i64::try_from(wait.as_secs()).unwrap()).max(1));
            }
        }
        steps
    }

    pub(super) fn one_pass(&mut self) -> Option<Duration> {
        self.finish(Pass::default())
    }

    /// The rest of a pass.
    pub(super) fn finish(&mut self, mut pass: Pass) -> Option<Duration> {
        for _ in 0..24 {
            if let Step::Wrote(requeue) | Step::Quiet(requeue) = self.step(&mut pass) {
                return requeue;
            }
        }
        panic!("the plan does not come to rest within one pass: {:#?}", self.log);
    }

    /// Runs one pass up to the effect of that name, without carrying it out.
    pub(super) fn until(&mut self, word: &str) -> Pass {
        let mut pass = Pass::default();
        for _ in 0..24 {
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

    pub(super) fn step(&mut self, pass: &mut Pass) -> Step {
        let observed = self.observe(pass);
        let Plan { effect, status, requeue } = plan(&observed);
        let again = plan(&observed);
        assert_eq!((&effect, &status, requeue), (&again.effect, &again.status, again.requeue), "not pure");
        pass.facts = observed.facts;
        let Some(effect) = effect else {
            if status == self.status {
                return Step::Quiet(requeue);
            }
            self.write(status);
            self.log.push("status".to_owned());
            let settled = self.observe(pass);
            let again = plan(&settled);
            assert!(
                again.effect.is_some() || again.status == self.status,
                "written twice: {:?}",
                again.status
            );
            return Step::Wrote(requeue);
        };
        self.log.push(name(&effect).to_owned());
        self.pass(self.pace);
        match effect {
            Effect::Record(status) => self.write(*status),
            Effect::Annotate(value) => self.object.ran = Some(value),
            Effect::ReadConnector(id) => pass.facts.connector = Some(self.read_connector(&id)),
            Effect::Claim(mut claim) => {
                if claim.nonce.is_empty() {
                    self.nonces += 1;
                    claim.nonce = format!("nonce-{}", self.nonces);
                }
                let nonce = claim.nonce.clone();
                match ledger::open(&mut self.ledger, *claim, 20, self.now) {
                    Ok(()) => pass.claimed = Some((nonce, self.now)),
                    Err(denied) => pass.facts.denied = Some(denied),
                }
                pass.facts.bound = false;
            }
            Effect::Bind(nonce) => {
                self.write(ScanStatus { claim: Some(nonce), ..self.status.clone() });
                pass.facts.bound = true;
            }
            Effect::CloseClaim(nonce) => {
                let claimed_at = observed.claim.map(|(claim, _)| claim.claimed_at).unwrap();
                ledger::close(&mut self.ledger, &nonce, claimed_at).unwrap();
                pass.claimed = None;
            }
            Effect::Start(id) => {
                let (nonce, _) = pass.claimed.as_ref().expect("this pass opened the claim");
                let open =
                    ledger::of(&self.ledger, ClaimKind::Scan, &self.object.uid).expect("an open claim");
                assert_eq!((&open.nonce, open.subject.as_str()), (nonce, id.as_str()));
                assert!(!self.posts.contains(nonce), "one POST a claim");
                assert_eq!(self.status.claim.as_ref(), Some(nonce), "the object says under which claim");
                assert!(!self.scans.iter().any(|scan| scan.ours), "a second scan: {:#?}", self.log);
                self.posts.push(nonce.clone());
                pass.facts.started = Some(self.start(&id));
            }
            Effect::Expire => {
                assert!(self.status.phase.is_some_and(|phase| phase.is_terminal()) && !self.expired);
                self.expired = true;
                return Step::Quiet(None);
            }
            Effect::ReadScan(id) => {
                let shown = |scan: &&Remote| scan.read.scan_id == id && scan.shown_from <= self.now;
                pass.facts.scan = Some(match (self.down, self.scans.iter().find(shown)) {
                    (Some(kind), _) => Err(fault(kind)),
                    (None, Some(scan)) if !self.no_route => Ok(scan.read.clone()),
                    _ => Err(fault(FaultKind::NotFound)),
                });
            }
        }
        Step::Acted
    }

    pub(super) fn observe(&mut self, pass: &mut Pass) -> Observed {
        let claim = ledger::of(&self.ledger, ClaimKind::Scan, &self.object.uid).cloned().map(|claim| {
            let first = *self.claims_seen.entry(claim.nonce.clone()).or_insert(self.now);
            (claim, since(first, self.now))
        });
        let mut facts = std::mem::take(&mut pass.facts);
        facts.claimed = pass.claimed.as_ref().map(|(nonce, at)| (nonce.clone(), since(*at, self.now)));
        Observed {
            object: self.object.clone(),
            spec: self.spec.clone(),
            status: self.status.clone(),
            connector: self.connector.clone(),
            request: StartScan { scan_type: ScanType::Full, options: ScanOptions::default() },
            claim,
            now: self.now,
            facts,
        }
    }

    fn write(&mut self, status: ScanStatus) {
        let over = self.status.phase.is_some_and(ScanPhase::is_terminal);
        assert!(!over, "a terminal phase is final: {:#?}", self.log);
        assert!(status.observed_generation >= self.status.observed_generation, "it never falls");
        let text = serde_json::to_string(&status).unwrap();
        self.status = serde_json::from_str(&text).unwrap();
        assert_eq!(self.status, status, "a status reads back as it was written");
    }

    fn start(&mut self, id: &ConnectorId) -> Result<ScanStarted, Fault> {
        let answer = self.answers.pop_front().unwrap_or(Answer::Started);
        let later = match answer {
            Answer::Started | Answer::StartedUnheard => 0,
            Answer::StartedLate(seconds) => seconds,
            Answer::Unheard => return Err(fault(FaultKind::OutcomeUnknown)),
            Answer::Refused(kind) => return Err(fault(kind)),
        };
        let scan_id = self.put("scan-1", true);
        self.scans.last_mut().unwrap().shown_from += SignedDuration::from_secs(later);
        let created_at = Some(self.now);
        let started =
            ScanStarted { scan_id, connector_id: Some(id.clone()), status: ScanState::Queued, created_at };
        if answer == Answer::Started { Ok(started) } else { Err(fault(FaultKind::OutcomeUnknown)) }
    }

    /// Puts a scan there, of ours or of somebody else.
    pub(super) fn put(&mut self, id: &str, ours: bool) -> ScanId {
        let scan_id = ScanId::parse(id).unwrap();
        let read = ScanRead {
            scan_id: scan_id.clone(),
            status: ScanState::Running,
            progress: Some(ScanProgress { files_total: 100, ..ScanProgress::default() }),
            coverage: None,
            workers: None,
            connector_id: None,
            started_at: Some(self.now),
            completed_at: None,
            message: None,
        };
        self.scans.push(Remote { read, ours, shown_from: self.now });
        scan_id
    }

    fn read_connector(&self, id: &ConnectorId) -> Result<ConnectorDetail, Fault> {
        if let Some(kind) = self.down {
            return Err(fault(kind));
        }
        if self.connector_gone {
            return Err(fault(FaultKind::NotFound));
        }
        let entry = |scan: &Remote| {
            let progress = scan.read.progress.clone().unwrap_or_default();
            ScanHistoryEntry {
                scan_id: scan.read.scan_id.clone(),
                status: scan.read.status.clone(),
                started_at: scan.read.started_at,
                completed_at: scan.read.completed_at,
                files_processed: progress.files_processed,
                findings_count: progress.findings_count,
            }
        };
        let shown = self.scans.iter().filter(|scan| scan.shown_from <= self.now);
        let listed = shown.filter(|scan| !self.finished_only || scan.read.status.is_terminal());
        Ok(ConnectorDetail {
            id: id.clone(),
            name: "team.lake".to_owned(),
            provider: Provider::Aws,
            status: ConnectorState::Active,
            config: serde_json::Map::new(),
            scan_history: listed.map(entry).collect(),
            risk_score: None,
            created_at: None,
            updated_at: None,
        })
    }

    /// What a scan does by itself as time goes by.
    fn progress(&mut self) {
        let Some(lasts) = self.lasts else { return };
        for scan in self.scans.iter_mut().filter(|scan| scan.ours && !scan.read.status.is_terminal()) {
            let ran = self.now.as_second() - scan.read.started_at.map_or(0, |begun| begun.as_second());
            let progress = scan.read.progress.get_or_insert_default();
            let share = (ran.min(lasts) * 100) / lasts.max(1);
            progress.files_processed = u64::try_from(share).unwrap();
            progress.findings_count = progress.files_processed * 2;
            progress.percent_complete = f64::from(u32::try_from(share).unwrap());
            progress.estimated_remaining_seconds = u64::try_from(lasts - ran).ok();
            if ran >= lasts {
                scan.read.status = self.ends.clone();
                scan.read.completed_at = scan.read.started_at.map(|it| it + SignedDuration::from_secs(lasts));
            }
        }
    }

    /// Status, reason and message of a condition.
    pub(super) fn said(&self, kind: &str) -> (&str, &str, &str) {
        find(&self.status.conditions, kind).map_or(("", "", ""), |condition| {
            (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
        })
    }

    /// The phase, its reason, some of its words, and the conditions that belong to it.
    pub(super) fn assert_said(&self, phase: ScanPhase, reason: &str, words: &str) {
        let (ready, why, message) = self.said("Ready");
        assert_eq!((self.status.phase, why), (Some(phase), reason), "{message} {:#?}", self.log);
        assert!(message.contains(words), "{message}");
        let beside = ["Complete", "Failed", "Stalled", "Reconciling"].map(|kind| self.said(kind).0);
        let expected = match phase {
            ScanPhase::Completed => ("True", ["True", "", "", ""]),
            ScanPhase::Failed | ScanPhase::Cancelled => ("False", ["", "True", "True", ""]),
            ScanPhase::Pending | ScanPhase::Queued | ScanPhase::Running => ("False", ["", "", "", "True"]),
        };
        assert_eq!((ready, beside), expected);
        assert_eq!(self.status.completion_time.is_some(), phase.is_terminal());
    }
}

pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap()
}

fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Record(_) => "record",
        Effect::Annotate(_) => "annotate",
        Effect::ReadConnector(_) => "read connector",
        Effect::Claim(_) => "claim",
        Effect::Bind(_) => "bind",
        Effect::CloseClaim(_) => "close",
        Effect::Start(_) => "start",
        Effect::ReadScan(_) => "read scan",
        Effect::Expire => "expire",
    }
}
