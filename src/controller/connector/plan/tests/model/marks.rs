//! The names of what can happen in a model, and of what must not.

use super::Model;
use super::state::State;

/// A mark, its words, and whether a property with these words holds.
type Named = (u8, &'static str, fn(&Model, &State) -> bool);

macro_rules! marks {
    ($holds:expr; $($name:ident = $bit:literal, $words:literal;)*) => {
        $(pub(in crate::controller::connector::plan::tests::model) const $name: u8 = $bit;)*
        pub(in crate::controller::connector::plan::tests::model) const ALL: &[Named] =
            &[$(($bit, $words, |model, state| $holds(model, state, $bit)),)*];
    };
}

/// Marks are put on the model, not on its states: states that differ in nothing else are one.
fn seen(model: &Model, _: &State, bit: u8) -> bool {
    model.happened().has(bit)
}

marks! { seen;
    CRASH = 0, "a replica dies in the middle of a pass";
    CRASH_CLAIMED = 1, "a replica dies between its claim and the answer";
    POST_UNHEARD = 2, "a POST commits and its answer is lost";
    POST_NOT_DONE = 3, "a POST is not carried out and its answer is lost";
    LATE_COMMIT = 4, "a POST commits after its answer was given up";
    WRITE_UNHEARD = 5, "a write to Kubernetes commits and its answer is lost";
    DELETE_UNHEARD = 6, "a DELETE is carried out and its answer is lost";
    STALE = 7, "something is decided on an old read";
    CONFLICT = 8, "a write is refused because the object is another one by now";
    EDIT_CLAIMED = 9, "the spec is edited while a claim is open";
    DELETED_CLAIMED = 10, "the object is deleted while a claim is open";
    RELEASED = 11, "the object is let go";
    ANEW = 12, "an object of the same name comes after it";
    VANISHED = 13, "the connector is deleted by somebody else";
    MADE_AGAIN = 14, "a lost connector is made again";
    RECOVERED = 15, "a create whose answer was lost is found";
    REPLACED = 16, "a replacement's new connector takes the place of the old one";
    ROLLED_BACK = 22, "a replacement is rolled back";
    LIE = 17, "the API lacks in an answer what is there";
    OVERSLEPT = 18, "a replica sleeps past every limit in the middle of a pass";
    RENEWED = 19, "a claim that became too old is renewed";
    BOTH = 20, "both replicas are in the middle of a pass";
    SWAPPED = 21, "the key becomes one of another workspace";
}

/// What must never happen.
pub(super) mod broken {
    use super::{Model, Named, State};

    fn never(_: &Model, state: &State, bit: u8) -> bool {
        !state.broken.has(bit)
    }

    marks! { never;
        S1 = 0, "S1: one living connector for one object";
        S2 = 1, "S2: nothing is created for an object that is gone";
        S3 = 2, "S3: nothing is deleted without the object's deletion or a recorded replacement";
        S4 = 3, "S4: nothing is deleted that the object did not make";
        S5 = 4, "S5: no POST without an acknowledged claim";
        S6 = 5, "S6: one POST for one claim";
        S7 = 6, "S7: nothing decided for one UID is written to another";
        S9 = 7, "S9: Ready speaks of what was read, and observedGeneration never falls";
        S11 = 8, "S11: the finalizer is there before the POST, and until nothing is left";
        LOST_TRACK = 9, "a claim is open until its outcome is put down";
        NOT_LOST = 11, "a connector is taken for lost only where it is gone";
        OTHER_KEY = 10, "nothing is created or deleted with the key of another workspace";
    }
}
