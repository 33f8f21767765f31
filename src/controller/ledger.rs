//! The record of creates in a workspace's status: who may send a POST now, and what may still be under way. Pure; the
//! writes that make it true are guarded by the workspace's resourceVersion.

use std::time::Duration;

use jiff::Timestamp;

use crate::crd::{Claim, ClaimKind, CreateBucket, WorkspaceStatus};
use crate::remote::Fault;

/// How long after its claim a POST may still be begun.
pub(super) const LEASE: Duration = Duration::from_secs(15);
/// The longest that a request takes, by the client's own limit.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_mins(1);
/// How far the API's clock may be off ours.
pub(super) const CLOCK_DIFFERENCE: Duration = Duration::from_secs(45);
/// A POST commits and is listed within this time of its claim, or never: what recovery rests on.
pub(super) const SETTLED_AFTER: Duration =
    Duration::from_secs(LEASE.as_secs() + REQUEST_LIMIT.as_secs() + CLOCK_DIFFERENCE.as_secs());

/// Most lost creates that are remembered. The schema allows as many.
const LOST_LIMIT: usize = 64;
/// Most claims that are open in one workspace. The schema allows as many.
const OPEN_LIMIT: usize = 256;
/// How long a minute's creates count: until its last second has left the hour.
const BUCKET_SECONDS: i64 = 3600 + 60;

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
    /// What the claim is for could not be sent now.
    NoRequest(Fault),
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

/// Closes the claim of that nonce, as it was written at `claimed_at`. One that is not there is closed.
///
/// # Errors
/// [`Denied::Conflict`] when it was renewed since: then something may be sent under it again, and what was found out about
/// it says nothing any more.
pub(super) fn close(status: &mut WorkspaceStatus, nonce: &str, claimed_at: Timestamp) -> Result<(), Denied> {
    if status.claims.iter().any(|claim| claim.nonce == nonce && claim.claimed_at != claimed_at) {
        return Err(Denied::Conflict);
    }
    status.claims.retain(|claim| claim.nonce != nonce);
    Ok(())
}

/// How a claim ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ending {
    /// What became of it is put down, or nothing was sent under it.
    Settled,
    /// Its create's answer was lost, and no trace of it was found in time.
    Lost,
}

/// As [`close`], and remembers a create that is given up for lost, the newest of them.
///
/// # Errors
/// Those of [`close`].
pub(super) fn end(
    status: &mut WorkspaceStatus,
    nonce: &str,
    claimed_at: Timestamp,
    ending: Ending,
) -> Result<(), Denied> {
    let lost = status.claims.iter().find(|claim| claim.nonce == nonce && ending == Ending::Lost).cloned();
    close(status, nonce, claimed_at)?;
    status.lost_creates.extend(lost);
    let surplus = status.lost_creates.len().saturating_sub(LOST_LIMIT);
    status.lost_creates.drain(..surplus);
    Ok(())
}

/// The claim that an object has open.
pub(super) fn of<'a>(status: &'a WorkspaceStatus, kind: ClaimKind, uid: &str) -> Option<&'a Claim> {
    status.claims.iter().find(|claim| claim.kind == kind && claim.uid == uid)
}

/// The creates of an hour: which are free, and when the others will be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots<'a> {
    creates: &'a [CreateBucket],
    per_hour: u32,
    second: i64,
}

impl<'a> Slots<'a> {
    /// Those of a workspace with these creates in its last hour.
    pub(super) fn new(creates: &'a [CreateBucket], per_hour: u32, now: Timestamp) -> Self {
        Self { creates, per_hour: per_hour.max(1), second: now.as_second() }
    }

    /// How many are free now.
    pub(super) fn free(&self) -> u32 {
        let used = self.counted().map(|bucket| bucket.count).fold(0, u32::saturating_add);
        self.per_hour.saturating_sub(used)
    }

    /// Until when the one after `ahead` others has to wait. None: one is free for it now.
    ///
    /// The free ones go first, then those that the oldest minutes give back, and then the same again an hour later.
    pub(super) fn wait_for(&self, ahead: usize) -> Option<Timestamp> {
        let ahead = u32::try_from(ahead).unwrap_or(u32::MAX);
        let (hours, place) = (ahead / self.per_hour, ahead % self.per_hour);
        let free = self.free();
        let first = if place < free {
            if hours == 0 {
                return None;
            }
            self.second - self.second.rem_euclid(60)
        } else {
            // More may be used than the limit allows: the limit can have been lowered.
            let used = self.counted().map(|bucket| bucket.count).fold(0, u32::saturating_add);
            let mut back = (place - free).saturating_add(used.saturating_sub(self.per_hour));
            let given_back = self.counted().find(|bucket| {
                let found = back < bucket.count;
                back = back.saturating_sub(bucket.count);
                found
            });
            given_back.map_or(self.second, |bucket| bucket.minute.as_second()) + BUCKET_SECONDS
        };
        let second = first.saturating_add(i64::from(hours).saturating_mul(BUCKET_SECONDS));
        Some(Timestamp::from_second(second).unwrap_or(Timestamp::MAX))
    }

    /// The minutes that still count, oldest first.
    fn counted(&self) -> impl Iterator<Item = &'a CreateBucket> {
        let second = self.second;
        self.creates.iter().filter(move |bucket| second - bucket.minute.as_second() < BUCKET_SECONDS)
    }
}

fn take_slot(creates: &mut Vec<CreateBucket>, per_hour: u32, now: Timestamp) -> Result<(), Denied> {
    if let Some(free_at) = Slots::new(creates, per_hour, now).wait_for(0) {
        return Err(Denied::NoSlot { free_at });
    }
    let second = now.as_second();
    creates.retain(|bucket| second - bucket.minute.as_second() < BUCKET_SECONDS);
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
            member: None,
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
        close(&mut status, "nonce-a-lake", at(0)).unwrap();
        assert_eq!(status.claims, []);
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
    fn a_claim_that_was_renewed_is_not_closed_by_whoever_saw_it_before() {
        let mut status = WorkspaceStatus::default();
        open(&mut status, claim("a", "lake"), 1, at(0)).unwrap();
        open(&mut status, Claim { claimed_at: at(30), ..claim("a", "lake") }, 1, at(30)).unwrap();
        assert_eq!(close(&mut status, "nonce-a-lake", at(0)), Err(Denied::Conflict));
        assert_eq!(status.claims.len(), 1);
        close(&mut status, "nonce-a-lake", at(30)).unwrap();
        assert_eq!(close(&mut status, "nonce-a-lake", at(0)), Ok(()), "one that is gone is closed");
    }

    #[test]
    fn only_what_is_given_up_for_lost_is_remembered_and_of_that_the_newest() {
        let mut status = WorkspaceStatus::default();
        open(&mut status, claim("a", "lake"), 1000, at(0)).unwrap();
        end(&mut status, "nonce-a-lake", at(0), Ending::Settled).unwrap();
        end(&mut status, "nonce-a-lake", at(0), Ending::Lost).unwrap();
        assert_eq!(status.lost_creates, [], "one that is closed already says nothing");
        for n in 0..=LOST_LIMIT {
            let subject = n.to_string();
            open(&mut status, claim("a", &subject), 1000, at(0)).unwrap();
            let nonce = format!("nonce-a-{subject}");
            assert_eq!(end(&mut status, &nonce, at(1), Ending::Lost), Err(Denied::Conflict), "renewed since");
            end(&mut status, &nonce, at(0), Ending::Lost).unwrap();
        }
        assert_eq!((status.claims.len(), status.lost_creates.len()), (0, LOST_LIMIT));
        assert_eq!(status.lost_creates[0].subject, "1");
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

    #[test]
    fn those_who_wait_are_told_the_time_at_which_their_place_is_free() {
        let minute = |n: i64| 1_799_999_940 + n * 60;
        let bucket = |n, count| CreateBucket { minute: Timestamp::from_second(minute(n)).unwrap(), count };
        let used = [bucket(0, 2), bucket(10, 1)];
        let slots = Slots::new(&used, 4, Timestamp::from_second(minute(20) + 7).unwrap());
        assert_eq!(slots.free(), 1);
        let told = [0, 1, 2, 3, 4, 5, 7, 8]
            .map(|ahead| slots.wait_for(ahead).map(|at| (at.as_second() - minute(0)) / 60));
        let hour = 61;
        assert_eq!(
            told,
            [
                None,
                Some(hour),
                Some(hour),
                Some(10 + hour),
                Some(20 + hour),
                Some(2 * hour),
                Some(10 + 2 * hour),
                Some(20 + 2 * hour)
            ]
        );
        let lowered = Slots::new(&used, 1, Timestamp::from_second(minute(20)).unwrap());
        assert_eq!(lowered.wait_for(0).unwrap().as_second(), minute(10 + hour), "two have to go first");
    }
}
