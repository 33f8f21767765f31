//! The remote API: how its answers come, and what each request is held against.

use super::marks::{self, broken};
use super::state::{Conn, Failed, Late, Replica, State, number};
use super::step::pass;
use super::{Model, Outcome};
use crate::crd::{ConnectorStatus, ReplacementPhase};

impl Model {
    pub(super) fn list(&self, s: &mut State, r: usize, lacks: bool) {
        let other_world = pass(s, r).swapped;
        let shown = if lacks || other_world { Vec::new() } else { s.remote.clone() };
        if lacks {
            s.happened.put(marks::LIE);
        }
        if other_world == s.swapped {
            see(&mut s.replicas[r], &shown);
        }
        pass(s, r).found.listing = Some((shown, 0));
    }

    pub(super) fn create(&self, s: &mut State, r: usize, outcome: Outcome) {
        let mine = pass(s, r).clone();
        let of = mine.object.uid;
        let nonce = mine.found.claimed.as_ref().map(|(nonce, _)| nonce.clone());
        let entry = s.ledger.iter_mut().find(|entry| Some(entry.claim.nonce.as_str()) == nonce.as_deref());
        let claim_age = entry.as_ref().map_or(0, |entry| entry.age);
        match entry {
            Some(entry) if entry.posted => s.broken.put(broken::S6),
            Some(entry) => entry.posted = true,
            None => s.broken.put(broken::S5),
        }
        match &s.object {
            Some(object) if object.uid == of => {
                if !object.finalizer {
                    s.broken.put(broken::S11);
                }
                if mine.swapped && object.status.status.identity.is_some() {
                    s.broken.put(broken::OTHER_KEY);
                }
            }
            _ => s.broken.put(broken::S2),
        }
        s.made += 1;
        let conn = Conn { id: s.made, spec: mine.object.spec, uid: of, tested: false, going: false, age: 0 };
        let answered = match outcome {
            Outcome::Done | Outcome::Lie | Outcome::Fails => true,
            Outcome::Lost => {
                s.happened.put(marks::POST_UNHEARD);
                false
            }
            Outcome::NotDone => {
                s.happened.put(marks::POST_NOT_DONE);
                pass(s, r).found.created = Some(Err(Failed::Unknown));
                return;
            }
            Outcome::Late => {
                s.late = Some(Late { conn, claim_age });
                pass(s, r).found.created = Some(Err(Failed::Unknown));
                return;
            }
        };
        commit(s, conn);
        pass(s, r).found.created = Some(if answered { Ok(conn) } else { Err(Failed::Unknown) });
    }

    pub(super) fn there<'a>(&self, s: &'a mut State, r: usize, id: u8) -> Option<&'a mut Conn> {
        let other_world = pass(s, r).swapped;
        s.remote.iter_mut().find(|conn| conn.id == id && !other_world)
    }

    pub(super) fn read(&self, s: &mut State, r: usize, id: u8, outcome: Outcome) -> Result<Conn, Failed> {
        if outcome == Outcome::Lie {
            s.happened.put(marks::LIE);
            return Err(Failed::NotFound);
        }
        let conn = *self.there(s, r, id).ok_or(Failed::NotFound)?;
        // What is asked with a key that was changed meanwhile tells nothing of what the new one shows.
        if pass(s, r).swapped != s.swapped {
            return Ok(conn);
        }
        let replica = &mut s.replicas[r];
        replica.missing.retain(|missing| *missing != id);
        replica.seen.retain(|(seen, _)| seen.id != id);
        replica.seen.push((conn, 0));
        replica.seen.sort_unstable();
        Ok(conn)
    }

    pub(super) fn delete(&self, s: &mut State, r: usize, id: u8, outcome: Outcome) -> Result<(), Failed> {
        let mine = pass(s, r).object.uid;
        if pass(s, r).swapped {
            s.broken.put(broken::OTHER_KEY);
        }
        let Some(conn) = self.there(s, r, id).copied() else { return Err(Failed::NotFound) };
        if conn.uid != mine {
            s.broken.put(broken::S4);
        }
        let asked_for = s.object.as_ref().is_some_and(|object| {
            let ConnectorStatus { replacement, .. } = &object.status.status;
            let goes = replacement.as_ref().and_then(|it| match it.phase {
                ReplacementPhase::Deleting | ReplacementPhase::Switched => number(&it.old_id),
                ReplacementPhase::RollingBack => number(it.new_id.as_ref()?),
                ReplacementPhase::Creating | ReplacementPhase::CreatingFirst | ReplacementPhase::Testing => {
                    None
                }
            });
            object.uid == mine && (object.deleting || goes == Some(id))
        });
        if !asked_for {
            s.broken.put(broken::S3);
        }
        match outcome {
            Outcome::NotDone => return Err(Failed::Unknown),
            Outcome::Late => {
                s.remote.iter_mut().filter(|conn| conn.id == id).for_each(|conn| conn.going = true);
                return Ok(());
            }
            Outcome::Done | Outcome::Lost | Outcome::Lie | Outcome::Fails => {
                s.remote.retain(|conn| conn.id != id)
            }
        }
        if outcome == Outcome::Lost {
            s.happened.put(marks::DELETE_UNHEARD);
            return Err(Failed::Unknown);
        }
        Ok(())
    }
}

/// A POST comes true.
pub(super) fn commit(s: &mut State, conn: Conn) {
    s.remote.push(conn);
    let beside = s
        .object
        .as_ref()
        .and_then(|object| object.status.status.replacement.as_ref())
        .is_some_and(|it| !matches!(it.phase, ReplacementPhase::Deleting | ReplacementPhase::Creating));
    let most = if beside { 2 } else { 1 };
    if s.made_by(conn.uid).count() > most {
        s.broken.put(broken::S1);
    }
}

/// A replica takes over a complete list.
pub(super) fn see(replica: &mut Replica, shown: &[Conn]) {
    for (conn, _) in std::mem::take(&mut replica.seen) {
        if !shown.iter().any(|listed| listed.id == conn.id) && !replica.missing.contains(&conn.id) {
            replica.missing.push(conn.id);
        }
    }
    replica.missing.retain(|id| !shown.iter().any(|conn| conn.id == *id));
    replica.missing.sort_unstable();
    replica.seen = shown.iter().filter(|conn| conn.uid != 0).map(|conn| (*conn, 0)).collect();
}
