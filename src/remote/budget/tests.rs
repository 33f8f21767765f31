//! The budget under a clock that stands still until everybody waits.

use std::sync::Arc;

use super::*;
use crate::remote::Standing;

fn limits(per_minute: u32, per_hour: u32, concurrent: u32) -> RateLimits {
    RateLimits {
        requests_per_minute: per_minute,
        requests_per_hour: per_hour,
        concurrent_requests: concurrent,
        ..RateLimits::default()
    }
}

fn asker(namespace: &str, object: &str) -> Asker {
    Asker { namespace: namespace.to_owned(), object: object.to_owned(), standing: Standing::Ordinary }
}

/// Comes again whenever it is told to, as a reconcile does; when it got its place.
async fn insist(budget: Budget, who: Asker, purpose: Purpose, served: Arc<Mutex<Vec<String>>>) {
    loop {
        match budget.take(&who, Meter::Rest, purpose).await {
            Ok(place) => {
                served.lock().push(who.object);
                drop(place);
                return;
            }
            Err(Full { retry_after }) => tokio::time::sleep(retry_after).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_by_purpose_and_namespaces_in_turns() {
    let budget = Budget::new(limits(1000, 1000, 1));
    let first = budget.take(&asker("a", "first"), Meter::Rest, Purpose::Poll).await.unwrap();
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (namespace, object, purpose) in [
        ("a", "interval", Purpose::Interval),
        ("a", "poll", Purpose::Poll),
        ("a", "test", Purpose::Test),
        ("a", "create1", Purpose::Create),
        ("a", "create2", Purpose::Create),
        ("b", "create3", Purpose::Create),
        ("a", "edit", Purpose::Edit),
        ("a", "removal", Purpose::Removal),
    ] {
        let who = asker(namespace, object);
        tasks.push(tokio::spawn(insist(budget.clone(), who, purpose, Arc::clone(&served))));
        tokio::task::yield_now().await;
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    let order = ["removal", "edit", "create1", "create3", "create2", "test", "poll", "interval"];
    assert_eq!(*served.lock(), order);
    assert_eq!(budget.gauges().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_objects_that_are_told_to_come_again_come_in_their_order_and_within_the_limit() {
    let budget = Budget::new(limits(60, 100_000, 10));
    let served = Arc::new(Mutex::new(Vec::new()));
    let begun = Instant::now();
    let mut tasks = Vec::new();
    for n in 0..1000 {
        let who = asker("a", &format!("{n:04}"));
        tasks.push(tokio::spawn(insist(budget.clone(), who, Purpose::Create, Arc::clone(&served))));
        tokio::task::yield_now().await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    let took = begun.elapsed();
    // Sixty at once, and sixty more with every minute.
    assert!(took >= MINUTE * 16 && took < MINUTE * 20, "{took:?}");
    let order = served.lock().clone();
    let displaced = order.iter().enumerate().map(|(n, who)| n.abs_diff(who.parse::<usize>().unwrap()));
    assert!(displaced.max().unwrap() < 60, "nobody lost more than one minute's places: {order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_take_the_place_of_one_who_was_told_to_come_again() {
    let budget = Budget::new(limits(1, 1000, 10));
    drop(budget.take(&asker("a", "first"), Meter::Rest, Purpose::Create).await.unwrap());
    let early = asker("a", "early");
    let told = budget.take(&early, Meter::Rest, Purpose::Create).await.unwrap_err().retry_after;
    assert!(told > Duration::from_secs(50) && told < Duration::from_secs(65), "{told:?}");
    tokio::time::sleep(Duration::from_secs(60)).await;
    let late = budget.take(&asker("a", "late"), Meter::Rest, Purpose::Create).await;
    assert!(late.is_err(), "the place is kept");
    budget.take(&early, Meter::Rest, Purpose::Create).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_while_the_api_asks_for_patience_and_all_come_back_spread_out() {
    let budget = Budget::new(limits(1000, 10_000, 100));
    budget.refused(Meter::Rest, Some(Duration::from_secs(30)));
    let mut told = Vec::new();
    for n in 0..50 {
        let full = budget.take(&asker("a", &n.to_string()), Meter::Rest, Purpose::Test).await.unwrap_err();
        told.push(full.retry_after);
    }
    assert!(told.iter().all(|wait| *wait >= Duration::from_secs(30)), "{told:?}");
    told.sort();
    told.dedup();
    assert!(told.len() > 40, "they are not told the same moment: {told:?}");
    tokio::time::sleep(Duration::from_secs(30)).await;
    budget.take(&asker("a", "0"), Meter::Rest, Purpose::Test).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_creates_that_the_api_reports_does_not_hold_up_what_is_read_for_longer_than_a_minute() {
    let budget = Budget::new(limits(1000, 10_000, 100));
    budget.refused(Meter::Creates, Some(Duration::from_secs(1800)));
    let create = asker("a", "create");
    assert!(budget.reserve(&create, Meter::Creates, Purpose::Create).await.is_err());
    assert!(budget.take(&asker("a", "poll"), Meter::Rest, Purpose::Poll).await.is_err());
    tokio::time::sleep(Duration::from_secs(61)).await;
    budget.take(&asker("a", "poll"), Meter::Rest, Purpose::Poll).await.unwrap();
    assert!(budget.reserve(&create, Meter::Creates, Purpose::Create).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_short_wait_is_waited_out_and_a_long_list_waits_longer_than_others() {
    let budget = Budget::new(limits(1, 1000, 10));
    drop(budget.take(&asker("", "poll"), Meter::Rest, Purpose::Poll).await.unwrap());
    tokio::time::sleep(Duration::from_secs(59)).await;
    drop(budget.take(&asker("a", "a"), Meter::Rest, Purpose::Test).await.unwrap());
    let poll = asker("", "poll");
    drop(budget.take_within(&poll, Meter::Rest, Purpose::Poll, Duration::from_secs(180)).await.unwrap());
    assert!(budget.take(&asker("a", "a"), Meter::Rest, Purpose::Test).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_reserved_is_counted_until_it_is_dropped_and_needs_no_place_among_those_under_way() {
    let budget = Budget::new(limits(2, 1000, 1));
    let place = budget.take(&asker("a", "slow"), Meter::Rest, Purpose::Test).await.unwrap();
    let create = asker("a", "create");
    let reserved = budget.reserve(&create, Meter::Creates, Purpose::Create).await.unwrap();
    assert_eq!((budget.gauges().minute, budget.gauges().hour), (0, 998));
    drop(reserved);
    assert_eq!(budget.gauges().minute, 1, "it was not sent");
    let reserved = budget.reserve(&create, Meter::Creates, Purpose::Create).await.unwrap();
    let begun = tokio::spawn(reserved.begin());
    tokio::task::yield_now().await;
    drop(place);
    drop(begun.await.unwrap().unwrap());
    assert_eq!(budget.gauges().minute, 0, "it was sent");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_dropped_while_it_waits_leaves_its_place_to_others_in_the_end() {
    let budget = Budget::new(limits(1000, 1000, 1));
    let first = budget.take(&asker("a", "first"), Meter::Rest, Purpose::Test).await.unwrap();
    let dropped = {
        let budget = budget.clone();
        tokio::spawn(async move { budget.take(&asker("a", "dropped"), Meter::Rest, Purpose::Test).await })
    };
    tokio::task::yield_now().await;
    assert_eq!(budget.gauges().waiting, 1);
    dropped.abort();
    let _ = dropped.await;
    drop(first);
    budget.take(&asker("a", "next"), Meter::Rest, Purpose::Test).await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(budget.gauges().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn both_editions_of_the_vendors_limits_are_kept_by_what_is_sent() {
    // Edition A, Free: 60 a minute, 1,000 an hour, no headers. The service counts for itself.
    let budget = Budget::new(RateLimits::default());
    let mut sent: Vec<Instant> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_hours(2) {
        match budget.take(&asker("a", "a"), Meter::Rest, Purpose::Edit).await {
            Ok(_) => sent.push(Instant::now()),
            Err(Full { retry_after }) => tokio::time::sleep(retry_after).await,
        }
    }
    for (limit, window) in [(60, MINUTE), (1000, Duration::from_hours(1))] {
        assert!(sent.windows(limit + 1).all(|some| some[limit] - some[0] >= window), "{limit}");
    }
    assert!(sent.len() >= 1900, "and they are used: {}", sent.len());

    // Edition B: unknown limits, a 429 with `Retry-After: 6`, or the counters of the window.
    let budget = Budget::new(limits(1000, 10_000, 10));
    let refused_at = Instant::now();
    budget.refused(Meter::Rest, Some(Duration::from_secs(6)));
    let full = budget.take(&asker("a", "a"), Meter::Rest, Purpose::Edit).await.unwrap_err();
    tokio::time::sleep(full.retry_after).await;
    drop(budget.take(&asker("a", "a"), Meter::Rest, Purpose::Edit).await.unwrap());
    assert!(refused_at.elapsed() >= Duration::from_secs(6));
    let counters = RateLimit {
        limit: Some(30),
        remaining: Some(0),
        reset: None,
        reset_after: Some(Duration::from_secs(20)),
    };
    budget.answered(Meter::Rest, &counters);
    let full = budget.take(&asker("a", "a"), Meter::Rest, Purpose::Edit).await.unwrap_err();
    assert!(full.retry_after >= Duration::from_secs(20));
}
