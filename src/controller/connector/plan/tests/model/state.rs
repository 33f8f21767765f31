//! One state of the model: what the API server and the remote API hold, what each replica remembers and has in hand, and
//! which faults are still to come. Times are ages in seconds that stop at a cap, so that there are finitely many states.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use jiff::{SignedDuration, Timestamp};

use super::super::fixture;
use crate::controller::conditions::CONNECTED;
use crate::controller::ledger::Denied;
use crate::crd::{Claim, ConnectorStatus};
use crate::remote::FaultKind;

/// Ages stop here: beyond it nothing is decided differently.
pub(super) const CAP: u16 = 330;
/// More than a lease, less than the time in which a POST commits.
pub(super) const SHORT: u16 = 20;
/// More than the time in which a POST commits, and more than a truth may be old.
pub(super) const LONG: u16 = 310;

/// The model's present. It never moves: everything else grows older instead.
pub(super) static NOW: LazyLock<Timestamp> = LazyLock::new(|| fixture::at(1_000_000));

/// The moment that many seconds ago.
pub(super) fn ago(age: u16) -> Timestamp {
    *NOW - SignedDuration::from_secs(age.into())
}

fn age_of(then: Timestamp) -> u16 {
    u16::try_from(NOW.duration_since(then).as_secs()).unwrap_or(CAP).min(CAP)
}

pub(super) fn older(age: u16, by: u16) -> u16 {
    age.saturating_add(by).min(CAP)
}

/// What is still to come.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Budget {
    /// Deaths of a replica.
    pub crashes: u8,
    /// Answers that are lost, of the remote API or of the API server.
    pub lost: u8,
    /// POSTs that commit after their answer was given up.
    pub late: u8,
    /// Reads that show what was before.
    pub stale: u8,
    /// Edits of the spec.
    pub edits: u8,
    /// Deletions of the object.
    pub deletes: u8,
    /// New objects of the same name.
    pub anew: u8,
    /// Deletions of the connector by somebody else.
    pub vanish: u8,
    /// Answers of the remote API that lack what is there: a list, or a 404.
    pub lies: u8,
    /// Lapses of more than a lease in the middle of a pass.
    pub freezes: u8,
    /// Connection tests that fail.
    pub fails: u8,
    /// Changes of the key to one of another workspace of the API.
    pub swaps: u8,
}

/// What has happened, and what must not.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Marks(pub u64);

impl Marks {
    pub(super) fn put(&mut self, bit: u8) {
        self.0 |= 1 << bit;
    }

    pub(super) fn has(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }
}

/// A status without what nothing is decided by: messages, and all times but those that are looked at.
#[derive(Clone)]
pub(super) struct Recorded {
    pub status: ConnectorStatus,
    /// What it is told apart by, once: states are hashed far more often than statuses are made.
    print: u64,
}

impl Recorded {
    pub(super) fn new(mut status: ConnectorStatus, by: u16) -> Arc<Self> {
        for condition in &mut status.conditions {
            condition.message.clear();
            let age =
                if condition.type_ == CONNECTED { age_of(condition.last_transition_time.0) } else { CAP };
            condition.last_transition_time.0 = ago(older(age, by));
        }
        status.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
        let beside = status.replacement.as_mut().and_then(|replacement| replacement.connection_test.as_mut());
        for test in status.connection_test.as_mut().into_iter().chain(beside) {
            let age = if test.connected { CAP } else { age_of(test.time) };
            test.time = ago(older(age, by));
            test.message = None;
        }
        let print = print(&serde_json::to_string(&status).unwrap());
        Arc::new(Self { status, print })
    }

    pub(super) fn id(&self) -> Option<u8> {
        number(self.status.connector_id.as_deref()?)
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectorStatus { conditions, connector_id, replacement, connection_test, .. } = &self.status;
        let said = conditions.iter().map(|it| format!("{}={}/{}", it.type_, it.status, it.reason));
        let tested = connection_test.is_some();
        write!(f, "{connector_id:?} {replacement:?} tested {tested} {}", said.collect::<Vec<_>>().join(" "))
    }
}

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        self.print == other.print
    }
}

impl Eq for Recorded {}

impl Hash for Recorded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.print.hash(state);
    }
}

/// What stands for a value.
pub(super) fn print(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The number in an id of the remote API.
pub(super) fn number(id: &str) -> Option<u8> {
    id.strip_prefix("conn-")?.parse().ok()
}

/// The object at the API server.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Stored {
    pub uid: u8,
    /// 0: the spec as it was applied; 1: another role.
    pub spec: u8,
    pub generation: u8,
    pub deleting: bool,
    pub finalizer: bool,
    pub copy: Option<Arc<str>>,
    pub status: Arc<Recorded>,
}

impl Stored {
    pub(super) fn is_replaced(&self) -> bool {
        self.status.status.replacement.is_some()
    }
}

/// A claim in the workspace's status.
#[derive(Clone)]
pub(super) struct Entry {
    pub claim: Arc<Claim>,
    pub age: u16,
    /// How often it was renewed.
    pub renewals: u8,
    /// A POST was sent under it.
    pub posted: bool,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim { uid, nonce, known_ids, .. } = &*self.claim;
        write!(f, "{nonce} of {uid}, age {}, posted {}, knows {known_ids:?}", self.age, self.posted)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.age, self.renewals, self.posted) == (other.age, other.renewals, other.posted)
            && Claim { claimed_at: *NOW, ..(*self.claim).clone() }
                == Claim { claimed_at: *NOW, ..(*other.claim).clone() }
    }
}

impl Eq for Entry {}

impl Hash for Entry {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Claim { uid, nonce, identity, subject, config, known_ids, .. } = &*self.claim;
        (uid, nonce, identity, subject, config, known_ids, self.age, self.renewals, self.posted).hash(state);
    }
}

/// A connector at the remote API.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Conn {
    pub id: u8,
    pub spec: u8,
    /// Which object made it; 0: somebody else.
    pub uid: u8,
    pub tested: bool,
    /// Told to go, and still shown.
    pub going: bool,
    pub age: u16,
}

/// A POST whose answer was given up, and that may still commit.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Late {
    pub conn: Conn,
    pub claim_age: u16,
}

/// What one pass found out.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(super) struct Found {
    /// A list, and how long ago it was begun.
    pub listing: Option<(Vec<Conn>, u16)>,
    pub claimed: Option<(Arc<str>, u16)>,
    pub bound: bool,
    pub survey: bool,
    pub denied: Option<Told>,
    pub created: Option<Result<Conn, Failed>>,
    /// Whether it connected.
    pub tested: Option<Result<bool, Failed>>,
    pub read: Option<Result<Conn, Failed>>,
    pub deleted: Option<Result<(), Failed>>,
    pub gone: Option<Result<bool, Failed>>,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Failed {
    NotFound,
    Unknown,
}

impl Failed {
    pub(super) fn kind(self) -> FaultKind {
        match self {
            Self::NotFound => FaultKind::NotFound,
            Self::Unknown => FaultKind::OutcomeUnknown,
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Told(pub Denied);

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(&self.0).hash(state);
    }
}

/// What a replica decided and did not do yet.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Next {
    Record(Arc<Recorded>, Tells),
    /// The status that stands at the end of a pass.
    Write(Arc<Recorded>),
    AddFinalizer,
    Annotate(Option<Arc<str>>),
    Survey,
    List,
    Claim(Entry),
    Bind(Arc<str>),
    CloseClaim(Arc<str>),
    Create,
    Test(u8),
    Read(u8),
    Delete(u8),
    ConfirmGone(u8),
    Release,
}

/// What a record tells, as far as `act` acts on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Tells {
    Lost,
    Recovered,
    Other,
}

/// A pass of the reconcile.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Pass {
    /// The object as it was read, or came back from the last write.
    pub object: Stored,
    /// Nobody wrote it since.
    pub current: bool,
    /// The claims as they were read in this pass.
    pub ledger: Option<Vec<Entry>>,
    pub found: Found,
    /// The key is the other one.
    pub swapped: bool,
    pub next: Next,
}

/// When an object is looked at again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Wake {
    Now,
    /// When time has gone by, or something changes.
    Later,
    /// When something changes.
    OnChange,
}

/// One process of the operator.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Replica {
    pub pass: Option<Pass>,
    /// What was seen, and how long ago.
    pub seen: Vec<(Conn, u16)>,
    pub missing: Vec<u8>,
    /// When claims were seen first, by nonce and renewal.
    pub claims: Vec<(Arc<str>, u8, u16)>,
    pub uptime: u16,
    pub wake: Wake,
}

impl Replica {
    pub(super) fn fresh() -> Self {
        Self {
            pass: None,
            seen: Vec::new(),
            missing: Vec::new(),
            claims: Vec::new(),
            uptime: 0,
            wake: Wake::Now,
        }
    }

    fn age(&mut self, by: u16) {
        self.uptime = older(self.uptime, by);
        self.seen.iter_mut().for_each(|(_, age)| *age = older(*age, by));
        self.claims.iter_mut().for_each(|(.., age)| *age = older(*age, by));
        if self.wake == Wake::Later {
            self.wake = Wake::Now;
        }
        let Some(pass) = &mut self.pass else { return };
        pass.object.status = Recorded::new(pass.object.status.status.clone(), by);
        pass.ledger.iter_mut().flatten().for_each(|entry| entry.age = older(entry.age, by));
        if let Some((listed, age)) = &mut pass.found.listing {
            *age = older(*age, by);
            listed.iter_mut().for_each(|conn| conn.age = older(conn.age, by));
        }
        if let Some((_, age)) = &mut pass.found.claimed {
            *age = older(*age, by);
        }
        match &mut pass.next {
            Next::Record(status, _) | Next::Write(status) => {
                *status = Recorded::new(status.status.clone(), by);
            }
            Next::Claim(entry) => entry.age = older(entry.age, by),
            _ => {}
        }
    }
}

/// Everything.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct State {
    pub object: Option<Stored>,
    /// The object before its last write, while a read may still show it.
    pub before: Option<Stored>,
    pub ledger: Vec<Entry>,
    pub remote: Vec<Conn>,
    /// Connectors ever made.
    pub made: u8,
    pub late: Option<Late>,
    pub swapped: bool,
    pub replicas: Vec<Replica>,
    pub left: Budget,
    pub happened: Marks,
    pub broken: Marks,
}

impl State {
    /// Time goes by, for everybody.
    pub(super) fn age(&mut self, by: u16) {
        for object in [&mut self.object, &mut self.before].into_iter().flatten() {
            object.status = Recorded::new(object.status.status.clone(), by);
        }
        self.ledger.iter_mut().for_each(|entry| entry.age = older(entry.age, by));
        self.remote.iter_mut().for_each(|conn| conn.age = older(conn.age, by));
        if let Some(late) = &mut self.late {
            late.claim_age = older(late.claim_age, by);
        }
        self.replicas.iter_mut().for_each(|replica| replica.age(by));
    }

    /// Connectors that an object of that UID made and that are there.
    pub(super) fn made_by(&self, uid: u8) -> impl Iterator<Item = &Conn> {
        self.remote.iter().filter(move |conn| conn.uid == uid)
    }
}
