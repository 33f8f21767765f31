//! The record of creates in a workspace's status: who may send a POST now, and what may still be under way. Pure; the
//! writes that make it true are guarded by the workspace's resourceVersion.

use std::time::Duration;

use jiff::Timestamp;

use crate::crd::{Claim, ClaimKind, CreateBucket, WorkspaceStatus};

/// How long after its claim a POST may still be begun.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// The longest that a request takes, by the client's own limit.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_mins(1);
/// How far the API's clock may be off ours.
pub(super) const CLOCK_DIFFERENCE: Duration = Duration::from_secs(45);
/// A POST commits and is listed within this time of its claim, or never: what recovery rests on.
pub(super) const SETTLED_AFTER: Duration =
    Duration::from_secs(LEASE.as_secs() + REQUEST_LIMIT.as_secs() + CLOCK_DIFFERENCE.as_secs());

/// Most claims that are open in one workspace. The schema allows as many.
const OPEN_LIMIT: usize = 256;
const HOUR_SECONDS: i64 = 3600;

/// Why a claim was not given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Denied {
    /// Another object has one open for the same name, or for the same connector's scans.
    SubjectClaimed {
        /// Who.
        by: String,
    },
    /// This object has one open already: its outcome has to be found out first.
    AlreadyOpen,
    /// The hour's creates are used up.
    NoSlot {
        /// When the next one is free.
        free_at: Timestamp,
    },
    /// Too many are open.
    TooManyOpen,
    /// Somebody else wrote the workspace at the same time.
    Conflict,
}

/// Opens `claim`, with a slot of the hour for a create. A claim of the same nonce is renewed, without another slot.
///
/// # Errors
/// [`Denied`], and then nothing is changed.
pub(super) fn open(
    status: &mut WorkspaceStatus,
    claim: Claim,
    creates_per_hour: u32,
    now: Timestamp,
) -> Result<(), Denied> {
    if let Some(mine) = status.claims.iter_mut().find(|open| open.nonce == claim.nonce) {
        mine.claimed_at = claim.claimed_at;
        return Ok(());
    }
    for open in status.claims.iter().filter(|open| open.kind == claim.kind) {
        if open.uid == claim.uid {
            return Err(Denied::AlreadyOpen);
        }
        if open.subject == claim.subject {
            return Err(Denied::SubjectClaimed { by: format!("{}/{}", open.namespace, open.name) });
        }
    }
    if status.claims.len() >= OPEN_LIMIT {
        return Err(Denied::TooManyOpen);
    }
    if claim.kind == ClaimKind::Connector {
        take_slot(&mut status.creates, creates_per_hour, now)?;
    }
    status.claims.push(claim);
    Ok(())
}

/// Closes the claim of that nonce. Whether there was one.
pub(super) fn close(status: &mut WorkspaceStatus, nonce: &str) -> bool {
    let before = status.claims.len();
    status.claims.retain(|claim| claim.nonce != nonce);
    status.claims.len() < before
}

/// The claim that an object has open.
pub(super) fn of<'a>(status: &'a WorkspaceStatus, kind: ClaimKind, uid: &str) -> Option<&'a Claim> {
    status.claims.iter().find(|claim| claim.kind == kind && claim.uid == uid)
}

fn take_slot(creates: &mut Vec<CreateBucket>, per_hour: u32, now: Timestamp) -> Result<(), Denied> {
    let second = now.as_second();
    creates.retain(|bucket| second - bucket.minute.as_second() < HOUR_SECONDS + 60);
    let used = creates.iter().map(|bucket| bucket.count).fold(0, u32::saturating_add);
    if used >= per_hour {
        // A bucket counts until its last second has left the hour.
        let oldest = creates.first().map_or(second, |bucket| bucket.minute.as_second());
        let free_at = Timestamp::from_second(oldest + HOUR_SECONDS + 60).unwrap_or(now);
        return Err(Denied::NoSlot { free_at });
    }
    let minute = second - second.rem_euclid(60);
    match creates.iter_mut().find(|bucket| bucket.minute.as_second() == minute) {
        Some(bucket) => bucket.count += 1,
        None => {
            creates.push(CreateBucket { minute: Timestamp::from_second(minute).unwrap_or(now), count: 1 })
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(uid: &str, subject: &str) -> Claim {
        Claim {
            kind: ClaimKind::Connector,
            namespace: "team".to_owned(),
            name: uid.to_owned(),
            uid: uid.to_owned(),
            nonce: format!("nonce-{uid}-{subject}"),
            claimed_at: at(0),
            identity: "i".to_owned(),
            subject: subject.to_owned(),
            provider: None,
            config: None,
            known_ids: Vec::new(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_name_is_claimed_once_and_so_is_an_object() {
        let mut status = WorkspaceStatus::default();
        open(&mut status, claim("a", "lake"), 20, at(0)).unwrap();
        let other = open(&mut status, claim("b", "lake"), 20, at(0));
        assert_eq!(other, Err(Denied::SubjectClaimed { by: "team/a".to_owned() }));
        assert_eq!(open(&mut status, claim("a", "pond"), 20, at(0)), Err(Denied::AlreadyOpen));
        assert!(close(&mut status, "nonce-a-lake"));
        assert!(!close(&mut status, "nonce-a-lake"), "only once");
        open(&mut status, claim("b", "lake"), 20, at(0)).unwrap();
        assert_eq!(of(&status, ClaimKind::Connector, "b").unwrap().subject, "lake");
    }

    #[test]
    fn a_renewal_takes_no_second_slot() {
        let mut status = WorkspaceStatus::default();
        open(&mut status, claim("a", "lake"), 1, at(0)).unwrap();
        let again = Claim { claimed_at: at(30), ..claim("a", "lake") };
        open(&mut status, again, 1, at(30)).unwrap();
        assert_eq!(
            (status.claims.len(), status.claims[0].claimed_at, status.creates[0].count),
            (1, at(30), 1)
        );
    }

    #[test]
    fn the_hour_has_so_many_slots_and_says_when_the_next_is_free() {
        let mut status = WorkspaceStatus::default();
        open(&mut status, claim("a", "1"), 2, at(0)).unwrap();
        open(&mut status, claim("b", "2"), 2, at(90)).unwrap();
        let full = open(&mut status, claim("c", "3"), 2, at(100)).unwrap_err();
        let Denied::NoSlot { free_at } = full else { panic!("{full:?}") };
        assert_eq!(status.claims.len(), 2, "nothing was changed");
        assert!(free_at > at(3600) && free_at <= at(3660), "{free_at}");
        open(&mut status, claim("c", "3"), 2, free_at).unwrap();
    }

    #[test]
    fn scans_take_no_slot_of_the_creates() {
        let mut status = WorkspaceStatus::default();
        let scan = Claim { kind: ClaimKind::Scan, ..claim("s", "conn-1") };
        open(&mut status, scan, 0, at(0)).unwrap();
        assert!(status.creates.is_empty());
    }
}
