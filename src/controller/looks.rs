//! Looks that many creates share. Each create looks through a list that was begun after it was decided; while one reads, the
//! others give way and are woken when it is read, so that a thousand creates cost a few lists, and hold no places meanwhile.
//!
//! Whoever was served a list and has to wait for a place then is served the same again, as long as it may be believed.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::ObjectKey;
use crate::remote::{Fault, Listing};

/// How old a list may be that a create goes by.
const BELIEVED: Duration = Duration::from_secs(30);
/// How long an object that asked is remembered, should it never come back.
const REMEMBERED: Duration = Duration::from_mins(10);
/// Lists that follow upon each other leave so many times what the last one took between them, for others to join.
const PAUSES: u32 = 2;
/// The longest that the next list is left for others to join.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The looks at every API, by credential.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<String, Room>>);

/// Those of one credential.
#[derive(Debug, Default)]
struct Room {
    /// How many lists were begun. Counted, and not timed: what happens at one instant has an order, too.
    begun: u64,
    /// Whether somebody reads a list, or is about to.
    reading: bool,
    /// The first list that serves each object, by UID, and when it asked.
    asked: HashMap<String, (u64, Instant)>,
    /// Whom to wake when a list is read.
    waiting: Vec<ObjectKey>,
    last: Option<Last>,
}

/// The last list.
#[derive(Debug)]
struct Last {
    number: u64,
    begun: Instant,
    ended: Instant,
    outcome: Result<Listing, Fault>,
}

/// Who looks.
pub(super) struct Looker<'a> {
    /// The credential that it looks with.
    pub credential: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// The object.
    pub key: ObjectKey,
}

impl Looks {
    /// A list that was begun after the object asked first. None: another one reads it, and the object is woken.
    pub(super) async fn look(
        &self,
        who: Looker<'_>,
        read: impl AsyncFnOnce() -> Result<Listing, Fault>,
        wake: impl Fn(&ObjectKey),
    ) -> Option<Result<Listing, Fault>> {
        let pause = match self.join(&who) {
            Joined::Served(outcome) => return Some(outcome),
            Joined::Waits => return None,
            Joined::Reads(pause) => pause,
        };
        let mut reading = Reading { looks: self, credential: who.credential, wake, last: None };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let (number, begun) = (self.begin(who.credential), Instant::now());
        let outcome = read().await;
        reading.last = Some(Last { number, begun, ended: Instant::now(), outcome: outcome.clone() });
        Some(outcome)
    }

    /// What the object looked for is decided: the next time it wants a list that is begun from now on.
    pub(super) fn done(&self, credential: &str, uid: &str) {
        let mut rooms = self.0.lock();
        if let Some(room) = rooms.get_mut(credential) {
            room.asked.remove(uid);
            if room.is_empty() {
                rooms.remove(credential);
            }
        }
    }

    fn join(&self, who: &Looker<'_>) -> Joined {
        let now = Instant::now();
        let mut rooms = self.0.lock();
        let room = rooms.entry(who.credential.to_owned()).or_default();
        let next = room.begun + 1;
        let (wanted, _) = *room.asked.entry(who.uid.to_owned()).or_insert((next, now));
        let served = room.last.as_ref().filter(|last| last.number >= wanted);
        if let Some(last) = served.filter(|last| now.duration_since(last.begun) < BELIEVED) {
            return Joined::Served(last.outcome.clone());
        }
        if room.reading {
            room.waiting.push(who.key.clone());
            return Joined::Waits;
        }
        room.reading = true;
        let pause = room.last.as_ref().map_or(Duration::ZERO, |last| {
            let pause = ((last.ended - last.begun) * PAUSES).min(LONGEST_PAUSE);
            (last.ended + pause).saturating_duration_since(now)
        });
        Joined::Reads(pause)
    }

    /// The number of the list that begins now.
    fn begin(&self, credential: &str) -> u64 {
        let mut rooms = self.0.lock();
        let room = rooms.entry(credential.to_owned()).or_default();
        room.begun += 1;
        room.begun
    }
}

impl Room {
    fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.waiting.is_empty() && !self.reading
    }
}

enum Joined {
    Served(Result<Listing, Fault>),
    Waits,
    Reads(Duration),
}

/// Somebody who reads a list. However that ends, the others are woken.
struct Reading<'a, W: Fn(&ObjectKey)> {
    looks: &'a Looks,
    credential: &'a str,
    wake: W,
    last: Option<Last>,
}

impl<W: Fn(&ObjectKey)> Drop for Reading<'_, W> {
    fn drop(&mut self) {
        let waiting = {
            let mut rooms = self.looks.0.lock();
            let Some(room) = rooms.get_mut(self.credential) else { return };
            room.reading = false;
            room.last = self.last.take().or(room.last.take());
            room.asked.retain(|_, (_, since)| since.elapsed() < REMEMBERED);
            let waiting = std::mem::take(&mut room.waiting);
            if room.is_empty() {
                rooms.remove(self.credential);
            }
            waiting
        };
        waiting.iter().for_each(&self.wake);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Reads lists that take a second each.
    #[derive(Default)]
    struct World {
        looks: Looks,
        lists: Cell<u32>,
        away: Cell<bool>,
        woken: RefCell<Vec<String>>,
    }

    impl World {
        async fn look(&self, uid: &str) -> Option<Result<Instant, Fault>> {
            let key = ObjectKey { namespace: "team".to_owned(), name: uid.to_owned() };
            let read = async || {
                let begun = Instant::now();
                self.lists.set(self.lists.get() + 1);
                tokio::time::sleep(Duration::from_secs(1)).await;
                if self.away.get() {
                    return Err(Fault::nobody_to_ask());
                }
                Ok(Listing::new(begun, Vec::new(), Vec::new(), None))
            };
            let wake = |key: &ObjectKey| self.woken.borrow_mut().push(key.name.clone());
            let looked = self.looks.look(Looker { credential: "c", uid, key }, read, wake).await?;
            Some(looked.map(|listing| listing.begun))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_while_a_list_is_read_share_the_next_one() {
        let world = World::default();
        let (first, second, third) = tokio::join!(world.look("a"), world.look("b"), world.look("c"));
        assert!(first.is_some_and(|list| list.is_ok()));
        assert!(second.is_none() && third.is_none(), "their list is not begun yet");
        assert_eq!(*world.woken.borrow(), ["b", "c"]);
        let asked = Instant::now();
        let list = world.look("b").await.unwrap().unwrap();
        assert!(list >= asked, "it was decided after the first list was begun");
        assert_eq!(world.look("c").await.unwrap().unwrap(), list, "the same serves the other");
        assert_eq!(world.lists.get(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_served_is_served_again_until_it_is_too_old_or_the_create_is_on_its_way() {
        let world = World::default();
        let list = world.look("a").await.unwrap().unwrap();
        assert_eq!(world.look("a").await.unwrap().unwrap(), list);
        tokio::time::advance(BELIEVED).await;
        let younger = world.look("a").await.unwrap().unwrap();
        assert!(younger > list);
        world.looks.done("c", "a");
        assert!(world.looks.0.lock().is_empty(), "nothing is kept");
        assert!(world.look("a").await.unwrap().unwrap() > younger, "it is another decision now");
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_cannot_be_read_is_so_for_all_whom_it_would_have_served() {
        let world = World::default();
        world.away.set(true);
        let (first, second, third) = tokio::join!(world.look("a"), world.look("b"), world.look("c"));
        assert!(first.is_some_and(|list| list.is_err()) && second.is_none() && third.is_none());
        assert!(world.look("b").await.unwrap().is_err());
        assert!(world.look("c").await.unwrap().is_err());
        assert_eq!(world.lists.get(), 2);
        world.looks.done("c", "c");
        world.away.set(false);
        assert!(world.look("c").await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_reader_goes_away_in_the_middle_the_others_are_woken() {
        let world = World::default();
        {
            let reading = world.look("a");
            let mut reading = std::pin::pin!(reading);
            assert!(futures::poll!(&mut reading).is_pending());
            assert!(world.look("b").await.is_none());
        }
        assert_eq!(*world.woken.borrow(), ["b"]);
        assert!(world.look("b").await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn lists_that_follow_upon_each_other_leave_time_to_join() {
        let world = World::default();
        let begun = Instant::now();
        for uid in ["a", "b", "c"] {
            world.look(uid).await.unwrap().unwrap();
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(3 + 2 * 2));
        tokio::time::advance(Duration::from_secs(5)).await;
        let later = Instant::now();
        world.look("d").await.unwrap().unwrap();
        assert_eq!(later.elapsed(), Duration::from_secs(1), "whoever is alone does not wait");
    }
}
