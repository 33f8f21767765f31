//! X9: an API that answers too much, too deep, too slow or without end costs bounded time and memory, and the others nothing.

use std::time::Duration;

use serde_json::{Value, json};

use super::hostile::{Answer, Asked, Hostile, http, success};
use super::{Stage, ready};

/// What an unoptimised operator may have in memory while all of this goes on.
const MEMORY: u64 = 400 * 1024 * 1024;

/// What each path answers to a list, and a word of what is said of it.
const CASES: [(&str, &str); 10] = [
    ("large", "the body is larger than 8 MiB"),
    ("endless", "the body is larger than 8 MiB"),
    ("swelling", "the body has too many parts"),
    ("deep", "it is not JSON"),
    ("bomb", "it is not JSON"),
    ("header", "the connection broke"),
    ("headers", "the connection broke"),
    ("drip", "it took longer than 60 s"),
    ("pages", "there are more than 1000 pages"),
    ("fat", "it takes more than 128 MiB"),
];

const CHUNKED: &[u8] = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n";

fn hostile(asked: &Asked) -> Answer {
    let case = asked.line.split('/').nth(1).unwrap_or_default();
    let sound = json!({"id": "conn-1", "name": "sound", "provider": "aws", "status": "active"});
    let spaces = " ".repeat(64 * 1024);
    match case {
        "large" => Answer::Endless(
            b"HTTP/1.1 200 X\r\ncontent-length: 10737418240\r\n\r\n".to_vec(),
            spaces.into_bytes(),
        ),
        "endless" => Answer::Endless(CHUNKED.to_vec(), format!("10000\r\n{spaces}\r\n").into_bytes()),
        "swelling" => http(200, &[], format!("{{\"data\":[{}0]}}", "{},".repeat(200_000))),
        "deep" => http(200, &[], "[".repeat(300_000)),
        "bomb" => http(200, &["content-encoding: gzip"], bomb()),
        "header" => Answer::Endless(b"HTTP/1.1 200 X\r\nx-padding: ".to_vec(), spaces.into_bytes()),
        "headers" => Answer::Endless(b"HTTP/1.1 200 X\r\n".to_vec(), b"x-padding: x\r\n".repeat(1000)),
        "drip" => Answer::Drip(CHUNKED.to_vec(), b"1\r\n \r\n".repeat(1000), Duration::from_secs(1)),
        "pages" | "fat" => {
            let before = asked.line.split("cursor=c").nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            let item = json!({"id": format!("conn-{before}"), "name": "n".repeat(if case == "fat" { 4 << 20 } else { 1000 })});
            let pagination = json!({"has_more": true, "next_cursor": format!("c{}", before + 1)});
            http(200, &[], json!({"status": "success", "data": [item], "pagination": pagination}).to_string())
        }
        _ if asked.line.starts_with("POST") && asked.line.ends_with("/test") => {
            success(&json!({"connected": true}))
        }
        _ if asked.line.starts_with("POST") => success(&sound),
        _ if asked.line.ends_with("/conn-1") => success(&sound),
        _ => success(&json!([])),
    }
}

/// 256 MiB of zeros as gzip, in less than two: 258 of them in 13 bits, again and again.
fn bomb() -> Vec<u8> {
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (mut kept, mut bits) = (0_u64, 0);
    let mut put = |value: u64, count: u32| {
        kept |= value << bits;
        bits += count;
        while bits >= 8 {
            bytes.push(u8::try_from(kept & 0xff).unwrap());
            kept >>= 8;
            bits -= 8;
        }
    };
    // A last block with the fixed codes, one zero, then "as before" in the longest way: length 258 (the code 11000101, first
    // bit first), distance 1 (five zeros).
    put(0b011, 3);
    put(0b0000_1100, 8);
    for _ in 0..256 * 1024 * 1024 / 258 {
        put(0b1010_0011, 13);
    }
    put(0, 15);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_measure_costs_bounded_time_and_memory_and_the_others_nothing() {
    let api = Hostile::start(hostile).await;
    let stage = Stage::start("bounds", &[&api.endpoint], &[]).await;
    stage.secret("key", "apiKey", "sk_live_canary").await;
    stage.secret("external-id", "externalId", "ext-canary").await;
    for (case, _) in CASES {
        stage.make("workspaces", Stage::workspace(case, &format!("{}/{case}", api.endpoint))).await;
    }
    let mut most = 0;
    let judged = async {
        // Beside them all, a sound one.
        stage.make("workspaces", Stage::workspace("sound", &api.endpoint)).await;
        stage.make("connectors", Stage::connector("sound", "sound")).await;
        stage.until_reason("connectors", "sound", "Ready").await;
        for (case, expected) in CASES {
            let told = |it: &Value| ready(it)["message"].as_str().is_some_and(|text| text.contains(expected));
            let found = stage.until("workspaces", case, expected, told).await;
            assert_eq!(ready(&found)["reason"], "ApiUnavailable", "{case}");
        }
    };
    let mut measuring = tokio::time::interval(Duration::from_millis(50));
    tokio::pin!(judged);
    loop {
        tokio::select! {
            () = &mut judged => break,
            _ = measuring.tick() => most = most.max(stage.operator.rss_bytes().unwrap()),
        }
    }
    eprintln!("at most {} MiB in memory", most / (1024 * 1024));
    assert!(most < MEMORY, "{} MiB in memory", most / (1024 * 1024));
    assert!(stage.operator.process().exit().is_none());
    let asked = api.seen();
    assert!(asked.iter().all(|it| !it.head.contains("accept-encoding")), "nothing compressed is asked for");
    // One list is read to its bound, and the next one not at once.
    let pages = asked.iter().filter(|it| it.line.contains("cursor=c")).count();
    assert!(pages < 10_000, "{pages} pages");
    let written = serde_json::to_string(&stage.told().await).unwrap();
    assert!(written.len() < 200 * 1024, "{} bytes of objects", written.len());
}
