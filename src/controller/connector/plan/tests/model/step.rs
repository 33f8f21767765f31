//! How a state becomes the next one: effects are applied as `act` applies them, each write guarded by the version that it
//! was decided on, and each effect is held against what must never happen.

use std::sync::Arc;

use super::look::{begin, facts, uid};
use super::marks::{self, broken};
use super::remote::see;
use super::state::{
    Entry, Failed, Found, LONG, Next, Pass, Recorded, SHORT, State, Stored, Tells, Told, Wake, number, older,
};
use super::{Model, Outcome, Wrong};
use crate::controller::ledger::{self, Denied, SETTLED_AFTER};
use crate::crd::{Claim, ConnectorStatus, ReplacementPhase, WorkspaceStatus};

impl Model {
    /// Replica `r` looks at the object, and decides.
    pub(super) fn start(&self, s: &mut State, r: usize, stale: bool) {
        s.replicas[r].wake = Wake::OnChange;
        let shown = if stale { s.before.clone() } else { s.object.clone() };
        let Some(object) = shown else { return };
        s.replicas[r].pass = Some(begin(object, !stale, s.swapped));
        self.decide(s, r);
        if stale && s.replicas[r].pass.is_some() {
            s.happened.put(marks::STALE);
        }
    }

    /// Replica `r` does what it decided.
    pub(super) fn act(&self, s: &mut State, r: usize, outcome: Outcome) {
        let next = s.replicas[r].pass.as_ref().unwrap().next.clone();
        if outcome == Outcome::Lost && is_write(&next) {
            s.happened.put(marks::WRITE_UNHEARD);
        }
        let goes_on = match next {
            Next::Record(status, tells) => self.record(s, r, status, tells),
            // One's own write is an event too: it is looked at again.
            Next::Write(status) => {
                self.write(s, r, |object| object.status = status);
                false
            }
            Next::AddFinalizer => self.write(s, r, |object| object.finalizer = true),
            Next::Annotate(value) => self.write(s, r, |object| object.copy = value),
            Next::List => {
                let lacks = outcome == Outcome::Lie;
                self.list(s, r, lacks);
                true
            }
            Next::Survey => {
                pass(s, r).found.survey = true;
                true
            }
            Next::Claim(entry) => self.claim(s, r, entry),
            Next::Bind(nonce) => self.bind(s, r, &nonce),
            Next::CloseClaim(nonce) => self.close(s, r, &nonce),
            Next::Create => {
                self.create(s, r, outcome);
                true
            }
            Next::Test(id) => {
                let connected = outcome != Outcome::Fails;
                let tested = self.there(s, r, id).map(|conn| conn.tested |= connected);
                pass(s, r).found.tested = Some(tested.map(|()| connected).ok_or(Failed::NotFound));
                true
            }
            Next::Read(id) => {
                let read = self.read(s, r, id, outcome);
                pass(s, r).found.read = Some(read);
                true
            }
            Next::Delete(id) => {
                let deleted = self.delete(s, r, id, outcome);
                pass(s, r).found.deleted = Some(deleted);
                true
            }
            Next::ConfirmGone(id) => {
                let gone = match self.read(s, r, id, outcome) {
                    Ok(_) => Ok(false),
                    Err(Failed::NotFound) => {
                        let replica = &mut s.replicas[r];
                        replica.seen.retain(|(conn, _)| conn.id != id);
                        replica.missing.retain(|missing| *missing != id);
                        Ok(true)
                    }
                    Err(failed) => Err(failed),
                };
                pass(s, r).found.gone = Some(gone);
                true
            }
            Next::Release => {
                self.release(s, r);
                false
            }
        };
        let unheard = outcome == Outcome::Lost && is_write(&s.replicas[r].pass.as_ref().unwrap().next);
        if goes_on && !unheard {
            self.decide(s, r);
        } else {
            s.replicas[r].pass = None;
            s.replicas[r].wake = Wake::Now;
        }
        tidy(s);
    }

    /// A guarded write of the object. False: somebody else was first, and the pass is over.
    fn write(&self, s: &mut State, r: usize, change: impl FnOnce(&mut Stored)) -> bool {
        let keyed_by_name = self.wrong == Some(Wrong::KeyedByName);
        let mine = pass(s, r);
        let (of, current) = (mine.object.uid, mine.current);
        let Some(object) = &mut s.object else { return false };
        if !(current || keyed_by_name && object.uid != of) {
            s.happened.put(marks::CONFLICT);
            return false;
        }
        if object.uid != of {
            s.broken.put(broken::S7);
        }
        let was = object.clone();
        change(object);
        let now = object.clone();
        if now.status.status.observed_generation < was.status.status.observed_generation {
            s.broken.put(broken::S9);
        }
        self.wrote(s, was);
        let pass = pass(s, r);
        (pass.object, pass.current) = (now, true);
        true
    }

    /// The object is another one than `was`: what was read before is not current any more, and everybody is told.
    pub(super) fn wrote(&self, s: &mut State, was: Stored) {
        if s.left.stale > 0 {
            s.before = Some(was);
        }
        for replica in &mut s.replicas {
            replica.wake = Wake::Now;
            if let Some(pass) = &mut replica.pass {
                pass.current = false;
            }
        }
    }

    fn record(&self, s: &mut State, r: usize, status: Arc<Recorded>, tells: Tells) -> bool {
        let was = Arc::clone(&pass(s, r).object.status);
        let (before, after) = (was.id(), status.id());
        let begun = status.status.replacement.as_ref().map(|replacement| replacement.phase);
        if self.wrong == Some(Wrong::IdInMemoryOnly) && before.is_none() && after.is_some() {
            pass(s, r).object.status = status;
        } else if !self.write(s, r, |object| object.status = status) {
            return false;
        }
        let there = s.remote.iter().any(|conn| Some(conn.id) == before && !conn.going);
        if tells == Tells::Lost && there {
            s.broken.put(broken::NOT_LOST);
        }
        match (tells, begun) {
            (Tells::Recovered, _) => s.happened.put(marks::RECOVERED),
            (Tells::Lost, _) => s.happened.put(marks::MADE_AGAIN),
            (_, Some(ReplacementPhase::Creating | ReplacementPhase::Switched)) => {
                s.happened.put(marks::REPLACED);
            }
            (_, Some(ReplacementPhase::RollingBack)) => s.happened.put(marks::ROLLED_BACK),
            _ => {}
        }
        let pass = pass(s, r);
        let mut facts = facts(&pass.found);
        facts.after_record(&was.status, &pass.object.status.status);
        let Found { listing, denied, created, tested, read, deleted, gone, survey, bound, claimed: _ } =
            &mut pass.found;
        *survey &= facts.survey.is_some();
        *bound = facts.bound;
        keep(listing, facts.listing.is_some());
        keep(denied, facts.denied.is_some());
        keep(created, facts.created.is_some());
        keep(tested, facts.tested.is_some());
        keep(read, facts.read.is_some());
        keep(deleted, facts.deleted.is_some());
        keep(gone, facts.gone.is_some());
        if pass.object.status.status.replacement.is_some() {
            pass.ledger = None;
        }
        true
    }

    fn claim(&self, s: &mut State, r: usize, mut entry: Entry) -> bool {
        if entry.claim.nonce.is_empty() {
            let nonce = free_nonce(s);
            entry.claim = Claim { nonce, ..(*entry.claim).clone() }.into();
        } else if s.ledger.iter().any(|open| open.claim.nonce == entry.claim.nonce) {
            s.happened.put(marks::RENEWED);
        } else {
            // Somebody closed it.
            pass(s, r).found.denied = Some(Told(Denied::Conflict));
            return true;
        }
        let nonce: Arc<str> = entry.claim.nonce.as_str().into();
        if self.wrong == Some(Wrong::ClaimWithoutGuard) {
            // Written over whatever is there, from what was read at the begin of the pass.
            let mut mine = pass(s, r).ledger.clone().unwrap_or_default();
            mine.push(entry);
            s.ledger = mine;
            pass(s, r).found.claimed = Some((nonce, 0));
        } else {
            let mut real = WorkspaceStatus {
                claims: s.ledger.iter().map(|entry| (*entry.claim).clone()).collect(),
                ..WorkspaceStatus::default()
            };
            let renewed = s.ledger.iter().position(|open| open.claim.nonce == entry.claim.nonce);
            match ledger::open(&mut real, (*entry.claim).clone(), 20, *super::state::NOW) {
                Ok(()) => {
                    match renewed {
                        Some(at) => {
                            s.ledger[at].age = entry.age;
                            s.ledger[at].renewals += 1;
                        }
                        None => s.ledger.push(entry),
                    }
                    pass(s, r).found.claimed = Some((nonce, 0));
                }
                Err(denied) => {
                    pass(s, r).found.denied = Some(Told(denied));
                    return true;
                }
            }
        }
        if pass(s, r).found.claimed.is_some() {
            pass(s, r).ledger = Some(s.ledger.clone());
        }
        pass(s, r).found.bound = false;
        true
    }

    /// The nonce goes into the object's status: whatever somebody else wrote is heeded before anything is sent.
    fn bind(&self, s: &mut State, r: usize, nonce: &str) -> bool {
        let status = pass(s, r).object.status.status.clone();
        let status = Recorded::new(ConnectorStatus { claim: Some(nonce.to_owned()), ..status }, 0);
        let unguarded = self.wrong == Some(Wrong::CreateFromTheCache);
        if unguarded || self.write(s, r, |object| object.status = status) {
            pass(s, r).found.bound = true;
            return true;
        }
        let of = pass(s, r).object.uid;
        let Some(object) = s.object.clone().filter(|object| object.uid == of) else { return false };
        let pass = pass(s, r);
        (pass.object, pass.current) = (object, true);
        true
    }

    /// Closes a claim as it was seen. False: it was renewed since.
    fn close(&self, s: &mut State, r: usize, nonce: &str) -> bool {
        let held = |entry: &&Entry| *entry.claim.nonce == *nonce;
        let seen = pass(s, r).ledger.iter().flatten().find(held).map(|entry| entry.renewals);
        if s.ledger.iter().find(held).is_some_and(|entry| seen.is_some_and(|seen| seen != entry.renewals)) {
            return false;
        }
        let of = uid(pass(s, r).object.uid);
        if let Some(entry) = s.ledger.iter().find(|entry| *entry.claim.nonce == *nonce) {
            let recorded = |id: u8| {
                let object = s.object.as_ref();
                object.is_some_and(|object| object.status.status.ids().any(|known| number(known) == Some(id)))
            };
            let made = s.remote.iter().any(|conn| uid(conn.uid) == entry.claim.uid && !recorded(conn.id));
            let under_way = s.late.as_ref().is_some_and(|late| uid(late.conn.uid) == of);
            if entry.posted && (made || under_way) {
                s.broken.put(broken::LOST_TRACK);
            }
        }
        s.ledger.retain(|entry| *entry.claim.nonce != *nonce);
        let ledger = s.ledger.clone();
        let replica = &mut s.replicas[r];
        replica.claims.retain(|(known, ..)| **known != *nonce);
        let pass = replica.pass.as_mut().unwrap();
        (pass.ledger, pass.found.claimed) = (Some(ledger), None);
        true
    }

    fn release(&self, s: &mut State, r: usize) {
        if !self.write(s, r, |object| object.finalizer = false) {
            return;
        }
        let object = s.object.take().unwrap();
        let left = s.made_by(object.uid).next().is_some();
        // One under which nothing was sent yet cannot be bound to an object that is gone.
        let claimed = s.ledger.iter().any(|entry| entry.posted && entry.claim.uid == uid(object.uid));
        if left || claimed || s.late.is_some() {
            s.broken.put(broken::S11);
        }
        s.happened.put(marks::RELEASED);
    }
}

fn keep<T>(fact: &mut Option<T>, holds: bool) {
    *fact = fact.take().filter(|_| holds);
}

/// Whether a POST may still be sent or commit after that long: what is assumed is that none does later than this after its
/// claim.
pub(super) fn nothing_can_commit_after(s: &State, by: u16, awake: Option<usize>) -> bool {
    let settled = u16::try_from(SETTLED_AFTER.as_secs()).unwrap();
    let late = s.late.as_ref().is_none_or(|late| older(late.claim_age, by) <= settled);
    let decided = s.replicas.iter().enumerate().filter(|(r, _)| Some(*r) != awake).all(|(_, replica)| {
        replica.pass.as_ref().is_none_or(|pass| {
            let age = pass.found.claimed.as_ref().map_or(0, |(_, age)| *age);
            pass.next != Next::Create || older(age, by) <= settled
        })
    });
    late && decided
}

/// Time goes by; after a long while the list is polled, what was told to go is gone, and claims without an owner are
/// resolved.
pub(super) fn pass_by(s: &mut State, by: u16) {
    s.age(by);
    if by < LONG {
        debug_assert_eq!(by, SHORT);
        return;
    }
    s.remote.retain(|conn| !conn.going);
    let alive = s.object.as_ref().map(|object| uid(object.uid));
    s.ledger.retain(|entry| Some(&entry.claim.uid) == alive.as_ref());
    let shown = if s.swapped { Vec::new() } else { s.remote.clone() };
    for replica in &mut s.replicas {
        let before =
            (replica.seen.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), replica.missing.clone());
        see(replica, &shown);
        let after = (replica.seen.iter().map(|(conn, _)| *conn).collect::<Vec<_>>(), replica.missing.clone());
        if before != after {
            replica.wake = Wake::Now;
        }
    }
    tidy(s);
}

/// Forgets what nothing can ask for any more, so that states that differ in nothing else are one.
pub(super) fn tidy(s: &mut State) {
    let State { object, ledger, replicas, .. } = s;
    let known = object.as_ref().and_then(|object| object.status.id());
    for replica in replicas {
        let held = replica.pass.as_ref().and_then(|pass| pass.object.status.id());
        replica.missing.retain(|id| Some(*id) == known || Some(*id) == held);
        let mine = replica.pass.as_ref().and_then(|pass| pass.ledger.clone()).unwrap_or_default();
        let open = |nonce: &str, renewals: u8| {
            ledger.iter().chain(&mine).any(|it| it.claim.nonce == nonce && it.renewals == renewals)
        };
        replica.claims.retain(|(nonce, renewals, _)| open(nonce, *renewals));
    }
}

fn free_nonce(s: &State) -> String {
    let used = |nonce: &str| {
        let noted = |object: &Stored| object.status.status.claim.as_deref() == Some(nonce);
        s.ledger.iter().any(|entry| entry.claim.nonce == nonce)
            || s.object.iter().chain(&s.before).any(noted)
            || s.replicas.iter().any(|replica| {
                replica.claims.iter().any(|(known, ..)| **known == *nonce)
                    || replica.pass.as_ref().is_some_and(|pass| {
                        let held = pass.ledger.iter().flatten().any(|entry| entry.claim.nonce == nonce);
                        held || noted(&pass.object)
                            || pass.found.claimed.as_ref().is_some_and(|(mine, _)| **mine == *nonce)
                            || matches!(&pass.next, Next::CloseClaim(mine) if **mine == *nonce)
                            || matches!(&pass.next, Next::Claim(mine) if mine.claim.nonce == nonce)
                    })
            })
    };
    (1..).map(|n| format!("nonce-{n}")).find(|nonce| !used(nonce)).unwrap()
}

pub(super) fn is_write(next: &Next) -> bool {
    !matches!(
        next,
        Next::List | Next::Create | Next::Test(_) | Next::Read(_) | Next::Delete(_) | Next::ConfirmGone(_)
    )
}

pub(super) fn pass(s: &mut State, r: usize) -> &mut Pass {
    s.replicas[r].pass.as_mut().unwrap()
}
