//! A small world around the plan: one schedule, its connectors and Scans, one clock. Effects are applied as `act` applies them;
//! no Scan is ever made twice, and none that runs is deleted, whoever died when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::controller::conditions::{READY, find};
use crate::controller::schedule::observed::{Around, Facts, Object, Observed, Outcome, Owned};
use crate::controller::schedule::plan::{BATCH, Effect, Said, plan};
use crate::crd::{ScanPhase, ScanScheduleSpec, ScanScheduleStatus};

pub(super) struct World {
    pub now: Timestamp,
    pub object: Object,
    pub spec: ScanScheduleSpec,
    pub status: ScanScheduleStatus,
    pub connectors: Result<Vec<String>, String>,
    pub scans: BTreeMap<String, Owned>,
    /// Names that belong to somebody else.
    pub foreign: BTreeSet<String>,
    /// What Kubernetes says to every Scan.
    pub refuses: Option<String>,
    /// Every Scan that was ever made, and when.
    pub made: Vec<(String, Timestamp)>,
    pub deleted: Vec<String>,
    pub said: Vec<Said>,
    pub writes: usize,
    /// Effects until the process dies; the last one is done, and not known to be.
    pub dies_after: Option<usize>,
}

impl World {
    /// A schedule of one connector, made and first looked at when the clock shows that.
    pub(super) fn new(schedule: &str, now: &str) -> Self {
        let mut spec =
            serde_json::from_value::<ScanScheduleSpec>(serde_json::json!({ "schedule": schedule })).unwrap();
        spec.connector_ref = Some(crate::crd::ConnectorRef { name: "lake".to_owned() });
        let now = now.parse().unwrap();
        let object = Object {
            namespace: "team".to_owned(),
            name: "nightly".to_owned(),
            uid: "uid-1".to_owned(),
            generation: 1,
            created: Some(now),
            ..Object::default()
        };
        let mut world = Self {
            now,
            object,
            spec,
            status: ScanScheduleStatus::default(),
            connectors: Ok(vec!["lake".to_owned()]),
            scans: BTreeMap::new(),
            foreign: BTreeSet::new(),
            refuses: None,
            made: Vec::new(),
            deleted: Vec::new(),
            said: Vec::new(),
            writes: 0,
            dies_after: None,
        };
        world.pass();
        world
    }

    /// One of many connectors.
    pub(super) fn selecting(schedule: &str, now: &str, connectors: usize, spread: Option<&str>) -> Self {
        let mut world = Self::new(schedule, now);
        world.spec.connector_ref = None;
        world.spec.connector_selector = Some(LabelSelector::default());
        world.spec.spread = spread.map(str::to_owned);
        world.connectors = Ok((0..connectors).map(|n| format!("c{n}")).collect());
        world
    }

    fn observed(&self, facts: Facts) -> Observed {
        Observed {
            object: self.object.clone(),
            spec: self.spec.clone(),
            status: self.status.clone(),
            around: Around {
                connectors: self.connectors.clone(),
                scans: self.scans.values().cloned().collect(),
            },
            now: self.now,
            facts,
        }
    }

    /// One pass of the reconcile. When it looks again; none where it died on the way, or waits for a change.
    pub(super) fn pass(&mut self) -> Option<Duration> {
        let mut facts = Facts::default();
        for _ in 0..super::super::super::STEPS {
            let observed = self.observed(facts);
            let step = plan(&observed);
            facts = observed.facts;
            let Some(effect) = step.effect else {
                if step.status != self.status {
                    self.write(step.status);
                    if self.dies() {
                        return None;
                    }
                }
                self.is_at_rest(step.requeue);
                return step.requeue;
            };
            self.act(effect, &mut facts);
            if self.dies() {
                return None;
            }
        }
        panic!("the plan did not come to rest");
    }

    /// What was just written is not written again, unless there is something to do.
    fn is_at_rest(&self, requeue: Option<Duration>) {
        if requeue.is_none_or(|wait| wait >= Duration::from_secs(2)) {
            let again = plan(&self.observed(Facts::default()));
            assert!(again.effect.is_some() || again.status == self.status, "{again:#?}\n{:#?}", self.status);
        }
    }

    fn dies(&mut self) -> bool {
        let Some(left) = &mut self.dies_after else { return false };
        *left = left.saturating_sub(1);
        if *left == 0 {
            self.dies_after = None;
            return true;
        }
        false
    }

    fn write(&mut self, status: ScanScheduleStatus) {
        self.status = status;
        self.writes += 1;
    }

    fn act(&mut self, effect: Effect, facts: &mut Facts) {
        match effect {
            Effect::Record(status, said) => {
                self.write(*status);
                self.said.extend(said);
                facts.turns.clear();
            }
            Effect::TakeTurns(turns) => {
                assert!(turns.len() <= BATCH && !facts.took_turns);
                facts.took_turns = true;
                for turn in turns {
                    let outcome = if !turn.starts {
                        Outcome::LeftOut
                    } else if self.foreign.contains(&turn.name) {
                        Outcome::Taken
                    } else if self.scans.contains_key(&turn.name) {
                        Outcome::Made
                    } else if let Some(why) = &self.refuses {
                        facts.refused = Some(why.clone());
                        break;
                    } else {
                        let twice = self.made.iter().any(|(name, _)| *name == turn.name);
                        assert!(!twice, "{} is made a second time", turn.name);
                        self.made.push((turn.name.clone(), self.now));
                        let scan = Owned {
                            name: turn.name.clone(),
                            uid: format!("uid of {}", turn.name),
                            version: Some("1".to_owned()),
                            connector: turn.connector.clone(),
                            phase: ScanPhase::Pending,
                            begun: false,
                            created: Some(self.now),
                            ended: None,
                            deleting: false,
                        };
                        self.scans.insert(turn.name.clone(), scan);
                        Outcome::Made
                    };
                    facts.turns.push((turn, outcome));
                }
            }
            Effect::Delete(doomed) => {
                assert!(doomed.len() <= BATCH);
                for doomed in doomed {
                    let scan = &self.scans[&doomed.name];
                    let fixed = doomed.version.is_some() || scan.phase.is_terminal();
                    assert!((scan.phase.is_terminal() || !scan.begun) && fixed && scan.uid == doomed.uid);
                    self.scans.remove(&doomed.name);
                    self.deleted.push(doomed.name.clone());
                    facts.deleted.insert(doomed.name);
                }
            }
        }
    }

    /// Lets the clock go on to that time, with a look at each moment that the plan asked for.
    pub(super) fn until(&mut self, time: &str) {
        let end = time.parse::<Timestamp>().unwrap();
        while self.now < end {
            let wait = self.pass().unwrap_or(Duration::from_secs(5));
            assert!(wait > Duration::ZERO && wait <= Duration::from_mins(10), "{wait:?}");
            self.now = (self.now + SignedDuration::try_from(wait).unwrap()).min(end);
        }
        self.pass();
    }

    /// The clock is set, and nobody looks in between.
    pub(super) fn set_clock(&mut self, time: &str) {
        self.now = time.parse().unwrap();
    }

    /// Scans begin at the API.
    pub(super) fn begin(&mut self) {
        for scan in self.scans.values_mut().filter(|scan| !scan.phase.is_terminal()) {
            (scan.phase, scan.begun) = (ScanPhase::Running, true);
        }
    }

    /// All Scans end that way.
    pub(super) fn end(&mut self, phase: ScanPhase) {
        for scan in self.scans.values_mut().filter(|scan| !scan.phase.is_terminal()) {
            (scan.phase, scan.begun, scan.ended) = (phase, true, Some(self.now));
        }
    }

    /// The names of the Scans that were made, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.made.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// When Scans were made.
    pub(super) fn times(&self) -> Vec<String> {
        self.made.iter().map(|(_, time)| time.to_string()).collect()
    }

    /// `Ready`: its status, reason and message.
    pub(super) fn ready(&self) -> (&str, &str, &str) {
        let ready = find(&self.status.conditions, READY).unwrap();
        (&ready.status, &ready.reason, &ready.message)
    }

    /// The reasons of the events.
    pub(super) fn reasons(&self) -> Vec<&'static str> {
        self.said.iter().map(|said| said.reason.as_str()).collect()
    }
}
