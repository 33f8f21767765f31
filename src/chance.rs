//! What is drawn by lot, in one place, so that a test that seeds it gets the same again.

use rand::RngExt;

/// A name that nobody else draws.
pub(crate) fn nonce() -> String {
    format!("{:032x}", draw())
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
    fn one_seed_draws_the_same_again() {
        begin(7);
        let first = super::nonce();
        begin(7);
        assert_eq!(super::nonce(), first);
        assert_ne!(super::nonce(), first);
        SOURCE.set(None);
    }
}
