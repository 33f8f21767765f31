//! Whose turn it is to create, where an hour has fewer creates than there are wishes: first come first served by the time at
//! which the object was made, namespaces in turns. It follows from the objects alone, so that neither a restart nor another
//! leader changes it; what is kept here is only who does not come when it is called.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::conditions::{READY, find};
use super::ledger::Slots;
use super::workspace::AnyWorkspace;
use super::{Context, Link, Reason};
use crate::crd::{Claim, ClaimKind, Connector, ManagementPolicy, WorkspaceId, WorkspaceKey};

/// How long the others leave a free create to the one whose turn it is.
const TURN: Duration = Duration::from_mins(2);
/// A time that was told stands until the true one is farther away than this.
const TOLD_WITHIN: Duration = Duration::from_mins(1);

/// An object that is to be created.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Wish {
    /// Its namespace.
    pub namespace: String,
    /// When the object was made.
    pub created: Timestamp,
    /// Its UID.
    pub uid: String,
}

/// Who has to wait until when.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// By UID; whoever is not in it need not wait.
    waiting: HashMap<String, Timestamp>,
    /// Whose turn it is, and since when.
    due: HashMap<String, Instant>,
}

impl Turns {
    /// When that object's turn comes, if it has to wait.
    pub(super) fn of(&self, uid: &str) -> Option<Timestamp> {
        self.waiting.get(uid).copied()
    }

    /// Whether nobody waits, and nobody is called.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.due.is_empty()
    }

    /// There are creates enough for everybody.
    pub(super) fn all_may(&mut self) {
        self.waiting.clear();
        self.due.clear();
    }

    /// That object took its turn.
    pub(super) fn took(&mut self, uid: &str) {
        self.waiting.remove(uid);
        self.due.remove(uid);
    }

    /// Gives every wish its turn. Those that did not come for long when it was theirs are passed over until they ask.
    pub(super) fn review(
        &mut self,
        wishes: Vec<Wish>,
        asking: &HashSet<String>,
        slots: &Slots<'_>,
        now: Instant,
    ) {
        let mut due = HashMap::new();
        self.waiting.clear();
        let mut place = 0;
        for wish in in_turns(wishes) {
            let called = self.due.get(&wish.uid).copied();
            let is_late = called.is_some_and(|since| now.duration_since(since) > TURN);
            if is_late && !asking.contains(&wish.uid) {
                due.extend(called.map(|since| (wish.uid, since)));
                continue;
            }
            match slots.wait_for(place) {
                None => {
                    let since = if is_late { now } else { called.unwrap_or(now) };
                    due.insert(wish.uid, since);
                }
                Some(at) => {
                    self.waiting.insert(wish.uid, at);
                }
            }
            place += 1;
        }
        self.due = due;
    }
}

/// The order of the turns: each namespace's first, then each one's second, and among them by age, then UID.
fn in_turns(mut wishes: Vec<Wish>) -> Vec<Wish> {
    wishes.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    let mut rounds = HashMap::<String, usize>::new();
    let mut placed = wishes
        .into_iter()
        .map(|wish| {
            let round = rounds.entry(wish.namespace.clone()).or_default();
            *round += 1;
            (*round, wish)
        })
        .collect::<Vec<_>>();
    // Stable: within a round the age decides.
    placed.sort_by_key(|(round, _)| *round);
    placed.into_iter().map(|(_, wish)| wish).collect()
}

/// The objects that are to be created in a workspace, as the index has them, without those that have a create under way.
pub(super) fn wishes(keeper: &AnyWorkspace, claims: &[Claim], ctx: &Context) -> Vec<Wish> {
    let waiting = served_by(keeper).flat_map(|key| ctx.index.ages::<Connector>(&Link::Unmade(key)));
    let mut wishes = waiting
        .map(|(key, created, uid)| Wish { namespace: key.namespace.clone(), created, uid: uid.to_string() })
        .collect::<Vec<_>>();
    if !wishes.is_empty() {
        let put_down = ctx.owned.lock();
        let creates = claims.iter().filter(|claim| claim.kind == ClaimKind::Connector);
        let served = put_down.values().chain(creates.map(|claim| &claim.uid)).collect::<HashSet<_>>();
        wishes.retain(|wish| !served.contains(&wish.uid));
    }
    wishes
}

/// The most objects that may be to be created in a workspace.
pub(super) fn most(keeper: &AnyWorkspace, ctx: &Context) -> usize {
    served_by(keeper).map(|key| ctx.index.count_of::<Connector>(&Link::Unmade(key))).sum()
}

/// The workspaces whose creates are kept by one: its own, and those of its members.
fn served_by(keeper: &AnyWorkspace) -> impl Iterator<Item = WorkspaceKey> {
    let members = keeper.record().into_iter().flat_map(|status| status.members.iter().map(WorkspaceId::key));
    std::iter::once(keeper.key()).chain(members)
}

/// Wakes those whose turn has come, and those that were told another time than theirs.
pub(super) fn wake(keeper: &AnyWorkspace, turns: &Turns, ctx: &Context) {
    for key in served_by(keeper).flat_map(|key| ctx.index.referring::<Connector>(&Link::Told(key))) {
        let Some(connector) = ctx.caches.connectors.get(&key) else { continue };
        let Ok(connector) = &connector.0 else { continue };
        let told = connector.status.as_ref().and_then(|status| status.next_create_time);
        let (Some(told), Some(uid)) = (told, &connector.metadata.uid) else { continue };
        let shifted = |turn: Timestamp| turn.duration_since(told).unsigned_abs() > TOLD_WITHIN;
        if turns.of(uid).is_none_or(shifted) {
            ctx.caches.connectors.wake(&key);
        }
    }
}

/// Reasons for which an object waits that nothing of its own holds: its turn, or what its whole workspace waits for.
const WAITING: [Reason; 9] = [
    Reason::ApiUnavailable,
    Reason::Creating,
    Reason::Forbidden,
    Reason::IdentityChanged,
    Reason::RateLimited,
    Reason::RemoteMissing,
    Reason::Unauthorized,
    Reason::WaitingForQuota,
    Reason::WorkspaceNotReady,
];

/// Whether nothing of its own keeps an object from being created, as far as its status says. Whoever is held by something waits
/// without a turn, and has the old one back when that is over.
pub(super) fn wishes_to_be_created(connector: &Connector) -> bool {
    let spec = &connector.spec;
    let status = connector.status.as_ref();
    let managed = spec.management_policy == ManagementPolicy::Manage && spec.connector_id.is_none();
    let known = status.is_some_and(|status| status.connector_id.is_some());
    if !managed || spec.suspend || known || connector.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let ready = status.and_then(|status| find(&status.conditions, READY));
    ready.is_none_or(|ready| WAITING.iter().any(|reason| reason.as_str() == ready.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::CreateBucket;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn wish(namespace: &str, n: i64) -> Wish {
        Wish { namespace: namespace.to_owned(), created: at(n), uid: format!("{namespace}{n}") }
    }

    fn uids(wishes: Vec<Wish>) -> Vec<String> {
        wishes.into_iter().map(|wish| wish.uid).collect()
    }

    #[test]
    fn namespaces_take_turns_and_each_serves_its_oldest_first() {
        let wishes = vec![wish("b", 9), wish("a", 3), wish("a", 1), wish("a", 2), wish("c", 5)];
        assert_eq!(uids(in_turns(wishes)), ["a1", "c5", "b9", "a2", "a3"]);
        let twins =
            vec![Wish { uid: "z".to_owned(), ..wish("a", 1) }, Wish { uid: "y".to_owned(), ..wish("a", 1) }];
        assert_eq!(uids(in_turns(twins)), ["y", "z"], "of one second the UID decides");
    }

    #[tokio::test(start_paused = true)]
    async fn two_hundred_wishes_and_twenty_creates_an_hour_make_ten_hours_whoever_asks_first() {
        let used = [CreateBucket { minute: at(0), count: 5 }];
        let slots = Slots::new(&used, 20, at(30));
        let wishes = (0..200).map(|n| wish("a", n)).collect::<Vec<_>>();
        let mut turns = Turns::default();
        let asking = HashSet::from(["a150".to_owned()]);
        turns.review(wishes, &asking, &slots, Instant::now());
        let hours = |n: i64| turns.of(&format!("a{n}")).map(|at| (at.as_second() - 1_800_000_000) / 3600);
        assert_eq!(
            [0, 14, 15, 19, 20, 34, 35, 150, 199].map(hours).map(|hours| hours.unwrap_or(0)),
            [0, 0, 1, 1, 1, 1, 2, 7, 10]
        );
        assert_eq!(turns.waiting.len(), 185, "fifteen creates are left in this hour");
    }

    #[tokio::test(start_paused = true)]
    async fn a_newcomer_waits_behind_those_who_were_there_whatever_is_free() {
        let now = Instant::now();
        let slots = Slots::new(&[], 2, at(0));
        let mut turns = Turns::default();
        let wishes = vec![wish("a", 1), wish("a", 2), wish("a", 3)];
        turns.review(wishes, &HashSet::from(["a3".to_owned()]), &slots, now);
        assert!(turns.of("a3").is_some(), "two are free, and they are those of the first two");
        assert_eq!((turns.of("a1"), turns.of("a2")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_come_when_it_is_called_holds_nobody_up_for_long() {
        let now = Instant::now();
        let slots = Slots::new(&[], 1, at(0));
        let wishes = || vec![wish("a", 1), wish("a", 2)];
        let mut turns = Turns::default();
        let nobody = HashSet::new();
        turns.review(wishes(), &nobody, &slots, now);
        assert!(turns.of("a2").is_some());
        turns.review(wishes(), &nobody, &slots, now + TURN);
        assert!(turns.of("a2").is_some(), "it still may");
        let late = now + TURN + Duration::from_secs(1);
        turns.review(wishes(), &nobody, &slots, late);
        assert_eq!(turns.of("a2"), None);
        turns.review(wishes(), &HashSet::from(["a1".to_owned()]), &slots, late);
        assert_eq!(turns.of("a1"), None, "when it comes after all it is the first again");
        assert!(turns.of("a2").is_some());
        turns.took("a1");
        turns.review(vec![wish("a", 2)], &nobody, &slots, late);
        assert_eq!((turns.of("a2"), turns.due.len()), (None, 1));
    }
}
