//! Lists end, and say whether they are complete.

use connectors_api::{
    ConnectorState, Cursor, Endpoint, ErrorKind, Incomplete, ListError, ListLimits, ListQuery, Provider,
};
use futures::StreamExt;

use crate::client;
use crate::double::{Act, Double, Seen, json};

fn page(ids: &[&str], pagination: &str) -> Act {
    let items: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"id":"{id}","name":"n","provider":"aws","status":"active"}}"#))
        .collect();
    Act::Answer(json(200, &format!(r#"{{"status":"success","data":[{}]{pagination}}}"#, items.join(","))))
}

fn more(cursor: &str) -> String {
    format!(r#","pagination":{{"limit":2,"has_more":true,"next_cursor":"{cursor}"}}"#)
}

const LAST: &str = r#","pagination":{"limit":2,"has_more":false}"#;

async fn three_pages() -> Double {
    Double::start(|_, request| match cursor(request) {
        None => page(&["conn-1", "conn-2"], &more("a+b/c=")),
        Some("a%2Bb%2Fc%3D") => page(&["conn-2", "conn-3"], &more("second")),
        Some("second") => page(&["conn-4"], LAST),
        other => panic!("unexpected cursor {other:?}"),
    })
    .await
}

fn cursor(request: &Seen) -> Option<&str> {
    request.line.split_once("cursor=").map(|(_, cursor)| cursor)
}

#[tokio::test]
async fn all_pages_are_read_and_an_item_that_shifted_between_them_comes_once() {
    let double = three_pages().await;
    let listing = client(double.address).list(&ListQuery::default(), ListLimits::default()).await.unwrap();
    let ids: Vec<_> = listing.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["conn-1", "conn-2", "conn-3", "conn-4"]);
    assert!(listing.is_complete());
    assert_eq!(listing.pages, 3);
    assert_eq!(double.seen()[0].line, "GET /api/v1/connectors?limit=100");
}

#[tokio::test]
async fn page_by_page_each_turn_is_one_request_and_the_end_is_known_before_another() {
    let double = three_pages().await;
    let mut pages = client(double.address).pages(ListQuery::default(), ListLimits::default());
    let mut turns = 0;
    while !pages.is_done() {
        assert!(pages.next().await.unwrap().is_some());
        turns += 1;
        assert_eq!((double.seen().len(), pages.count()), (turns, turns));
    }
    assert_eq!((turns, pages.incomplete()), (3, None));
    assert_eq!(pages.next().await, Ok(None), "nothing more, and nothing sent");
    assert_eq!(double.seen().len(), 3);
}

#[tokio::test]
async fn a_stream_reads_only_the_pages_that_are_asked_for() {
    let double = three_pages().await;
    let client = client(double.address);
    let mut stream = Box::pin(client.list_all(ListQuery::default(), ListLimits::default()));
    assert_eq!(stream.next().await.unwrap().unwrap().id.as_str(), "conn-1");
    assert_eq!(double.seen().len(), 1);
    let rest: Vec<_> = stream.map(|item| item.unwrap().id.to_string()).collect().await;
    assert_eq!(rest, ["conn-2", "conn-3", "conn-4"]);
}

/// Both ways to read a list, over the same double: the reason that the listing gives, and the stream's last word.
async fn incomplete(double: &Double, limits: ListLimits) -> (usize, Incomplete) {
    let client = client(double.address);
    let listing = client.list(&ListQuery::default(), limits).await.unwrap();
    assert!(!listing.is_complete());
    let mut streamed: Vec<_> = client.list_all(ListQuery::default(), limits).collect().await;
    let last = streamed.pop().unwrap().unwrap_err();
    assert_eq!(last, ListError::Incomplete(listing.incomplete.unwrap()));
    assert!(streamed.iter().all(Result::is_ok));
    assert_eq!(streamed.len(), listing.items.len());
    (listing.items.len(), listing.incomplete.unwrap())
}

#[tokio::test]
async fn a_cursor_that_comes_again_ends_the_list_as_incomplete() {
    let double = Double::start(|number, _| page(&[&format!("conn-{number}")], &more("again"))).await;
    let (items, why) = incomplete(&double, ListLimits::default()).await;
    assert_eq!((items, why), (2, Incomplete::CursorRepeated { pages: 2 }));
    assert_eq!(why.to_string(), "the service repeated a cursor after 2 pages");
}

#[tokio::test]
async fn the_limits_of_pages_and_items_end_the_list_as_incomplete() {
    let endless = |number: usize, _: &Seen| {
        let ids = [format!("conn-{number}a"), format!("conn-{number}b")];
        page(&[&ids[0], &ids[1]], &more(&format!("c{number}")))
    };
    let double = Double::start(endless).await;
    let limits = ListLimits { max_pages: 3, ..ListLimits::default() };
    assert_eq!(incomplete(&double, limits).await, (6, Incomplete::PageLimit(3)));
    let limits = ListLimits { max_items: 3, ..ListLimits::default() };
    assert_eq!(incomplete(&double, limits).await, (3, Incomplete::ItemLimit(3)));
    // However little each page takes: two items a page, in more than 64 bytes each.
    let limits = ListLimits { max_memory: 1000, ..ListLimits::default() };
    let (items, why) = incomplete(&double, limits).await;
    assert!((2..20).contains(&items), "{items}");
    assert_eq!(why, Incomplete::MemoryLimit(1000));
}

#[tokio::test]
async fn as_many_pages_and_items_as_the_limits_allow_are_complete() {
    let double = three_pages().await;
    let limits = ListLimits { max_pages: 3, max_items: 4, ..ListLimits::default() };
    let listing = client(double.address).list(&ListQuery::default(), limits).await.unwrap();
    assert_eq!((listing.items.len(), listing.incomplete), (4, None));
}

#[tokio::test]
async fn more_without_a_cursor_and_a_full_page_without_pagination_are_incomplete() {
    for (pagination, why) in [
        (r#","pagination":{"limit":100,"has_more":true,"next_cursor":""}"#, Incomplete::NoCursor),
        ("", Incomplete::NoPagination),
    ] {
        let ids: Vec<String> = (0..100).map(|n| format!("conn-{n}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let double = Double::always(page(&ids, pagination)).await;
        assert_eq!(incomplete(&double, ListLimits::default()).await, (100, why));
    }
}

#[tokio::test]
async fn a_short_page_without_pagination_is_complete() {
    let double = Double::always(page(&["conn-1"], "")).await;
    let listing = client(double.address).list(&ListQuery::default(), ListLimits::default()).await.unwrap();
    assert!(listing.is_complete());
    let double = Double::always(page(&[], LAST)).await;
    let listing = client(double.address).list(&ListQuery::default(), ListLimits::default()).await.unwrap();
    assert!(listing.is_complete() && listing.items.is_empty());
}

#[tokio::test]
async fn one_odd_item_does_not_hide_the_others_but_the_list_is_incomplete() {
    let body = r#"{"data":[{"id":"conn-1"},{"name":"no id"},{"id":"conn-2","risk_score":"high"},{"id":"conn-3"}],
        "pagination":{"has_more":false}}"#;
    let double = Double::always(Act::Answer(json(200, body))).await;
    let (items, why) = incomplete(&double, ListLimits::default()).await;
    assert_eq!((items, why), (2, Incomplete::Unreadable(2)));
    assert_eq!(
        ListError::from(why).to_string(),
        "the list of connectors is not complete: 2 connectors in it cannot be read"
    );
}

#[tokio::test]
async fn a_page_that_fails_ends_the_list_with_its_error() {
    let double = Double::start(|number, _| match number {
        0 => page(&["conn-1"], &more("next")),
        _ => Act::Answer(json(503, "")),
    })
    .await;
    let client = client(double.address);
    let mut all: Vec<_> = client.list_all(ListQuery::default(), ListLimits::default()).collect().await;
    assert_eq!(all.len(), 2);
    let Err(ListError::Request(error)) = all.pop().unwrap() else { panic!("an error of the request") };
    assert_eq!((error.kind(), error.status()), (ErrorKind::Refused, Some(503)));
    assert!(client.list(&ListQuery::default(), ListLimits::default()).await.is_err());
}

#[tokio::test]
async fn only_documented_filters_are_sent_and_all_are_applied() {
    let body = r#"{"data":[{"id":"conn-1","provider":"aws","status":"pending_test"},
        {"id":"conn-2","provider":"aws","status":"active"},{"id":"conn-3","provider":"gcp","status":"pending_test"}]}"#;
    let double = Double::always(Act::Answer(json(200, body))).await;
    let client = client(double.address);
    let query = ListQuery {
        provider: Some(Provider::Aws),
        status: Some(ConnectorState::PendingTest),
        limit: Some(7),
    };
    let page = client.list_page(&query, Some(&Cursor::parse("c").unwrap())).await.unwrap().value;
    assert_eq!(page.items.len(), 1);
    let query = ListQuery { provider: None, status: Some(ConnectorState::Active), limit: Some(0) };
    let page = client.list_page(&query, None).await.unwrap().value;
    assert_eq!(page.items[0].id.as_str(), "conn-2");
    let query = ListQuery { provider: Some(Provider::from("oracle")), status: None, limit: Some(1000) };
    assert!(client.list_page(&query, None).await.unwrap().value.items.is_empty());
    let lines: Vec<_> = double.seen().into_iter().map(|r| r.line).collect();
    assert_eq!(
        lines,
        [
            "GET /api/v1/connectors?limit=7&provider=aws&cursor=c",
            "GET /api/v1/connectors?limit=1&status=active",
            "GET /api/v1/connectors?limit=100",
        ]
    );
}

#[tokio::test]
async fn an_endpoint_below_a_path_and_with_the_version_is_joined_once() {
    let double = Double::always(page(&[], LAST)).await;
    for path in ["", "/", "/api/v1", "/api/v1/", "/behind/a/gateway/"] {
        let endpoint = Endpoint::parse(&format!("http://{}{path}", double.address)).unwrap();
        let client = connectors_api::Client::builder(endpoint, "k".into()).without_proxies().build().unwrap();
        client.list_page(&ListQuery::default(), None).await.unwrap();
    }
    let lines: Vec<_> = double.seen().into_iter().map(|r| r.line).collect();
    assert!(lines[..4].iter().all(|line| line == "GET /api/v1/connectors?limit=100"), "{lines:?}");
    assert_eq!(lines[4], "GET /behind/a/gateway/api/v1/connectors?limit=100");
}
