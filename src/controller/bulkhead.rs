//! Keeps the reconciles of one credential from taking all places of a controller: while its API is slow, others go on.
//!
//! A reconcile that is about to do something takes a seat among those of its credential. Where none is free it gives way at
//! once, and is woken when its turn comes: what is urgent first, then who came first.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use super::ObjectKey;

/// Seats of a controller that a single credential may have. What is left of the controller's places is for the others.
const SEATS: usize = 48;

/// How urgent a reconcile is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Urgency {
    /// Somebody deleted, changed or asked for something.
    Asked,
    /// Something is to be made.
    New,
    /// Something is to be looked after.
    Ordinary,
}

/// The seats of one controller, by credential.
#[derive(Debug, Default)]
pub struct Bulkhead(Mutex<Rooms>);

#[derive(Debug, Default)]
struct Rooms {
    rooms: HashMap<String, Room>,
    came: u64,
}

/// One credential's seats and those who wait for one.
#[derive(Debug, Default)]
struct Room {
    seated: usize,
    waiting: BTreeMap<(Urgency, u64), ObjectKey>,
    /// Since when each came: kept until it is seated, so that whoever is overtaken on the way loses nothing.
    keys: HashMap<ObjectKey, (Urgency, u64)>,
}

/// A seat; free again when it is dropped.
pub(super) struct Seat<'a, W: Fn(&ObjectKey)> {
    bulkhead: &'a Bulkhead,
    credential: String,
    wake: W,
}

impl Bulkhead {
    /// A seat among those of a credential. None: all are taken, and `who` is woken when there is one.
    pub(super) fn enter<W: Fn(&ObjectKey)>(
        &self,
        credential: &str,
        urgency: Urgency,
        who: ObjectKey,
        wake: W,
    ) -> Option<Seat<'_, W>> {
        let mut rooms = self.0.lock();
        rooms.came += 1;
        let came = rooms.came;
        if !rooms.rooms.contains_key(credential) {
            rooms.rooms.insert(credential.to_owned(), Room::default());
        }
        let share = rooms.share();
        let room = rooms.rooms.get_mut(credential)?;
        let key = match room.keys.get(&who) {
            Some((before, came)) => ((*before).min(urgency), *came),
            None => (urgency, came),
        };
        let old = room.keys.insert(who.clone(), key);
        if let Some(old) = old {
            room.waiting.remove(&old);
        }
        if room.seated >= share {
            room.waiting.insert(key, who);
            return None;
        }
        room.keys.remove(&who);
        room.seated += 1;
        Some(Seat { bulkhead: self, credential: credential.to_owned(), wake })
    }
}

impl Rooms {
    /// The more credentials are at work, the fewer seats each has.
    fn share(&self) -> usize {
        (SEATS / self.rooms.len().max(1)).max(1)
    }
}

impl<W: Fn(&ObjectKey)> Drop for Seat<'_, W> {
    fn drop(&mut self) {
        let mut rooms = self.bulkhead.0.lock();
        let share = rooms.share();
        let Some(room) = rooms.rooms.get_mut(&self.credential) else { return };
        room.seated -= 1;
        if room.seated < share
            && let Some((_, next)) = room.waiting.pop_first()
        {
            (self.wake)(&next);
        } else if room.seated == 0 && room.waiting.is_empty() {
            rooms.rooms.remove(&self.credential);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    type TestSeat<'a> = Seat<'a, Box<dyn Fn(&ObjectKey) + 'a>>;

    #[derive(Default)]
    struct World {
        bulkhead: Bulkhead,
        woken: RefCell<Vec<String>>,
    }

    impl World {
        fn enter(&self, credential: &str, urgency: Urgency, who: impl ToString) -> Option<TestSeat<'_>> {
            let who = ObjectKey { namespace: "team".to_owned(), name: who.to_string() };
            let wake = |who: &ObjectKey| self.woken.borrow_mut().push(who.name.clone());
            self.bulkhead.enter(credential, urgency, who, Box::new(wake))
        }

        fn fill(&self, credential: &str) -> Vec<TestSeat<'_>> {
            (0..100).map_while(|n| self.enter(credential, Urgency::New, n)).collect()
        }
    }

    #[test]
    fn a_slow_credential_leaves_places_to_another() {
        let world = World::default();
        let slow = world.fill("slow");
        assert_eq!(slow.len(), SEATS);
        assert_eq!(world.fill("other").len(), SEATS / 2, "two share what there is");
    }

    #[test]
    fn a_free_seat_wakes_the_most_urgent_and_then_the_first_one() {
        let world = World::default();
        let seats = (0..SEATS).filter_map(|n| world.enter("a", Urgency::New, n));
        let seats = seats.collect::<Vec<_>>();
        for (urgency, who) in [
            (Urgency::Ordinary, "late"),
            (Urgency::New, "first"),
            (Urgency::New, "second"),
            (Urgency::Asked, "urgent"),
        ] {
            assert!(world.enter("a", urgency, who).is_none());
        }
        assert!(world.enter("a", Urgency::New, "second").is_none(), "asking twice takes no second place");
        drop(seats);
        assert_eq!(*world.woken.borrow(), ["urgent", "first", "second", "late"]);
    }

    #[test]
    fn whoever_is_overtaken_on_the_way_to_its_seat_is_the_first_again() {
        let world = World::default();
        let seats = (0..SEATS).filter_map(|n| world.enter("a", Urgency::New, n));
        let mut seats = seats.collect::<Vec<_>>();
        assert!(world.enter("a", Urgency::New, "called").is_none());
        assert!(world.enter("a", Urgency::New, "next").is_none());
        seats.pop();
        seats.extend(world.enter("a", Urgency::New, "faster"));
        assert!(world.enter("a", Urgency::New, "called").is_none(), "another was faster");
        seats.pop();
        assert_eq!(*world.woken.borrow(), ["called", "called"]);
    }

    #[test]
    fn nothing_is_kept_of_a_credential_that_is_at_rest() {
        let world = World::default();
        drop(world.enter("a", Urgency::New, "one"));
        assert!(world.bulkhead.0.lock().rooms.is_empty());
    }
}
