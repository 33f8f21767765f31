//! What is drawn by lot, in one place, so that a test that seeds it gets the same again.

use rand::RngExt;

/// A name that nobody else draws.
pub(crate) fn nonce() -> String {
    format!("{:032x}", draw())
}

/// A part of something, from nothing to all but all of it: what spreads those out who were told the same time.
pub(crate) fn part() -> f64 {
    // 53 bits are what the number holds.
    #[expect(clippy::cast_precision_loss, reason = "both fit")]
    let part = (draw() >> 75) as f64 / (1_u64 << 53) as f64;
    part
}

#[cfg(not(test))]
fn draw() -> u128 {
    rand::rng().random()
}

#[cfg(test)]
fn draw() -> u128 {
    seeded::SOURCE.with_borrow_mut(|source| {
        source.as_mut().map_or_else(|| rand::rng().random(), |source| source.random())
    })
}

/// In tests: draws that one seed repeats, on this thread.
#[cfg(test)]
pub(crate) mod seeded {
    use std::cell::RefCell;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    thread_local! {
        pub(super) static SOURCE: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
    }

    /// Draws from here on what this seed gives.
    pub(crate) fn begin(seed: u64) {
        SOURCE.set(Some(SmallRng::seed_from_u64(seed)));
    }

    #[test]
    fn a_part_is_less_than_the_whole() {
        let parts = (0..1000).map(|_| super::part()).collect::<Vec<_>>();
        assert!(parts.iter().all(|part| (0.0..1.0).contains(part)));
        assert!(parts.iter().any(|part| *part < 0.1) && parts.iter().any(|part| *part > 0.9));
    }

    #[test]
    fn one_seed_draws_the_same_again() {
        begin(7);
        let first = super::nonce();
        begin(7);
        assert_eq!(super::nonce(), first);
        assert_ne!(super::nonce(), first);
        SOURCE.set(None);
    }
}
