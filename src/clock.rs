//! The wall clock, asked for in one place. The monotonic one is tokio's `Instant` everywhere, so that a test that pauses
//! tokio's time has both in its hand.

/// The time of day.
#[cfg(not(test))]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
pub(crate) use virtual_time::now;

/// In tests: a wall clock that goes with tokio's, on this thread, and that can be put forward and back.
#[cfg(test)]
pub(crate) mod virtual_time {
    use std::cell::Cell;
    use std::time::Duration;

    use jiff::{SignedDuration, Timestamp};
    use tokio::time::Instant;

    thread_local! {
        static WALL: Cell<Option<(Timestamp, Instant)>> = const { Cell::new(None) };
        static STEP: Cell<SignedDuration> = const { Cell::new(SignedDuration::ZERO) };
    }

    /// The time of day: the virtual one where this thread began one.
    pub(crate) fn now() -> Timestamp {
        let Some((base, since)) = WALL.get() else { return Timestamp::now() };
        let elapsed = since.elapsed();
        base + STEP.get() + SignedDuration::try_from(elapsed).unwrap_or_default()
    }

    /// Begins at `base`, without a step.
    pub(crate) fn begin(base: Timestamp) {
        WALL.set(Some((base, Instant::now())));
        STEP.set(SignedDuration::ZERO);
    }

    /// How far the wall clock is from what the monotonic one says.
    pub(crate) fn step_to(step: SignedDuration) {
        STEP.set(step);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_goes_with_the_paused_one_and_can_be_stepped() {
        let base = Timestamp::from_second(1_800_000_000).unwrap();
        begin(base);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(now(), base + SignedDuration::from_secs(90));
        step_to(SignedDuration::from_secs(-30));
        assert_eq!(now(), base + SignedDuration::from_secs(60));
        WALL.set(None);
    }
}
