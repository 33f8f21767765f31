//! A death between any two steps, and twice, with every outcome of the POST: at most one scan, one end that is final, and no
//! claim left open. What must never happen on the way, the world checks at each effect.

use connectors_api::wire::ScanState;

use super::world::{Answer, World};
use crate::crd::ScanPhase;
use crate::remote::FaultKind;

const ANSWERS: [Answer; 11] = [
    Answer::Started,
    Answer::StartedUnheard,
    Answer::StartedLate(5),
    Answer::StartedLate(100),
    Answer::Unheard,
    Answer::Refused(FaultKind::Refused),
    Answer::Refused(FaultKind::NotFound),
    Answer::Refused(FaultKind::Conflict),
    Answer::Refused(FaultKind::Unauthorized),
    Answer::Refused(FaultKind::RateLimited),
    Answer::Refused(FaultKind::Unreachable),
];

/// It is over, and nothing changes any more.
fn check(world: &mut World, what: &str) {
    println!("{what}");
    let phase = world.status.phase.unwrap();
    assert!(phase.is_terminal(), "{what}: {:?} {:#?}", world.said("Ready"), world.log);
    assert!(world.ledger.claims.is_empty(), "{what}: a claim is left open: {:#?}", world.log);
    let ours = world.scans.iter().filter(|scan| scan.ours).collect::<Vec<_>>();
    assert!(ours.len() <= 1, "{what}");
    if phase == ScanPhase::Completed {
        assert_eq!(world.status.scan_id.as_deref(), Some(ours[0].read.scan_id.as_str()), "{what}");
    }
    let (status, done) = (world.status.clone(), world.log.len());
    for _ in 0..5 {
        world.pass(61);
        assert_eq!(world.one_pass(), None, "{what}");
    }
    assert_eq!((&world.status, world.log.len()), (&status, done), "{what}");
}

#[test]
fn a_scan_comes_to_one_end_with_at_most_one_scan_at_the_api() {
    for answer in ANSWERS {
        for no_route in [false, true] {
            let make = || {
                let mut world = World::new();
                world.answers = [answer].into();
                world.no_route = no_route;
                world
            };
            let mut calm = make();
            let steps = calm.run(&[]);
            let what = format!("{answer:?}, no route: {no_route}");
            check(&mut calm, &what);
            for first in 1..=steps {
                let mut once = make();
                let longer = once.run(&[first]);
                check(&mut once, &format!("{what}, dead after step {first}"));
                for second in (first + 1..=longer).filter(|_| !no_route) {
                    let mut twice = make();
                    twice.run(&[first, second]);
                    check(&mut twice, &format!("{what}, dead after steps {first} and {second}"));
                }
            }
        }
    }
}

#[test]
fn a_death_never_costs_a_scan_whose_start_was_answered_or_can_be_found() {
    for answer in [Answer::Started, Answer::StartedUnheard, Answer::StartedLate(60)] {
        for ends in [ScanState::Completed, ScanState::Failed, ScanState::Cancelled] {
            let steps = 12;
            for first in 1..=steps {
                let mut world = World::new();
                (world.answers, world.ends) = ([answer].into(), ends.clone());
                world.run(&[first]);
                let phase = format!("{:?}", world.status.phase.unwrap()).to_lowercase();
                // Where the claim was all that was written, nobody can know that nothing was sent.
                let unsent = world.posts.is_empty();
                assert!(unsent || phase == ends.as_str(), "{answer:?} {first}: {phase} {:#?}", world.log);
            }
        }
    }
}
