//! Wrong variants: each has to be caught, within bounds in which the right one holds.

use super::state::Budget;
use super::{CALM, Model, Wrong};

/// Bounds, replicas, and what has to be found broken.
type Caught = (Wrong, Budget, usize, &'static str);

const REST: &str = "it comes to rest, with what was asked for";
const TRACK: &str = "a claim is open until its outcome is put down";
const LOST: &str = "a connector is taken for lost only where it is gone";

#[test]
fn every_wrong_variant_breaks_what_the_right_one_holds() {
    let variants: [Caught; 12] = [
        (Wrong::ClaimWithoutGuard, CALM, 2, "S1: one living connector for one object"),
        (Wrong::CreateFromTheCache, CALM, 2, REST),
        (Wrong::OneNotFoundAsGone, Budget { lies: 1, ..CALM }, 1, LOST),
        (Wrong::ListAsAbsence, Budget { lies: 1, ..CALM }, 1, LOST),
        (
            Wrong::FinalizerAfterPost,
            CALM,
            1,
            "S11: the finalizer is there before the POST, and until nothing is left",
        ),
        (
            Wrong::FinalizerGoesWithTheDelete,
            Budget { deletes: 1, lost: 1, ..CALM },
            1,
            "S11: the finalizer is there before the POST, and until nothing is left",
        ),
        (Wrong::PostAgainOnLostAnswer, Budget { lost: 1, ..CALM }, 1, "S6: one POST for one claim"),
        (Wrong::IdInMemoryOnly, Budget { crashes: 1, ..CALM }, 1, TRACK),
        (
            Wrong::KeyedByName,
            Budget { deletes: 1, anew: 1, ..CALM },
            1,
            "S7: nothing decided for one UID is written to another",
        ),
        (Wrong::NoWaitForWhatMayCommit, Budget { late: 1, ..CALM }, 1, TRACK),
        (
            Wrong::AnyKeyBelieved,
            Budget { swaps: 1, deletes: 1, ..CALM },
            1,
            "nothing is created or deleted with the key of another workspace",
        ),
        (Wrong::RenewalForgotten, Budget { freezes: 1, late: 1, ..CALM }, 1, TRACK),
    ];
    for (wrong, bounds, replicas, breaks) in variants {
        assert_eq!(
            Model::new(bounds, replicas, &[]).fails(),
            [""; 0],
            "the right one, where {wrong:?} is wrong"
        );
        let found = Model { wrong: Some(wrong), ..Model::new(bounds, replicas, &[]) }.fails();
        assert!(found.contains(&breaks), "{wrong:?} breaks {found:?} and not {breaks:?}");
    }
}
