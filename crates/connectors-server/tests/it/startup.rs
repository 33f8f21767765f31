//! Starts that fail say why in one sentence and with a code; stops are clean.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use testbed::{Exit, Server, ServerOptions};
use tokio::process::Command;

use crate::rig::server;

/// Runs the program until it ends by itself: exit code, stdout, stderr.
async fn run(args: &[&str]) -> (i32, String, String) {
    let child = Command::new(env!("CARGO_BIN_EXE_connectors-server"))
        .args(args)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(Duration::from_secs(30), child).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_database_that_cannot_be_used_stops_the_start_with_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    std::fs::write(at("notes.txt"), "just some notes, and not a database at all. ".repeat(50)).unwrap();
    for (url, expected) in [
        ("sqlite:///proc/nothing/x.db".to_owned(), "cannot be opened for writing"),
        (
            format!("sqlite://{}", at("missing/x.db")),
            "cannot be opened for writing: No such file or directory",
        ),
        (format!("sqlite://{}", at("")), "is a directory; name a file in it"),
        (format!("sqlite://{}", at("notes.txt")), "is not a database of connectors-server"),
        ("mysql://db/x".to_owned(), "must be given as sqlite:///path/to/file.db"),
    ] {
        for command in [
            vec!["serve", "--listen", "127.0.0.1:0", "--database", &url],
            vec!["keys", "create", "--workspace", "w", "--role", "admin", "--database", &url],
        ] {
            let (code, stdout, stderr) = run(&command).await;
            assert_eq!((code, stdout.as_str()), (1, ""), "{url}: {stderr}");
            assert!(
                stderr.starts_with("connectors-server: ") && stderr.contains(expected),
                "{url}: {stderr}"
            );
            assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        }
    }
}

#[tokio::test]
async fn an_address_that_is_taken_stops_the_start_with_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/x.db", dir.path().display());
    let (code, _, stderr) = run(&["serve", "--listen", &address, "--database", &url]).await;
    assert_eq!(code, 1);
    assert_eq!(
        stderr.trim_end(),
        format!("connectors-server: cannot listen on {address}: Address already in use (os error 98)")
    );
}

#[tokio::test]
async fn a_second_server_on_one_database_is_refused_while_keys_can_still_be_made() {
    let server = server().await;
    let (code, _, stderr) = run(&["serve", "--listen", "127.0.0.1:0", "--database", server.database()]).await;
    assert_eq!(code, 1);
    assert!(stderr.contains("is in use by another connectors-server; only one may serve it"), "{stderr}");
    server.create_key("default", "viewer").await.unwrap();
}

#[tokio::test]
async fn a_key_is_printed_once_and_alone_and_can_be_listed_and_revoked() {
    let server = server().await;
    let database = server.database();
    let (code, stdout, _) =
        run(&["keys", "create", "--database", database, "--workspace", "w", "--role", "editor"]).await;
    assert_eq!(code, 0);
    let key = stdout.strip_suffix('\n').unwrap();
    assert!(
        key.starts_with("sk_live_") && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
        "{key}"
    );

    let (_, list, _) = run(&["keys", "list", "--database", database]).await;
    assert!(list.contains("\tw\teditor\t") && list.contains("\tvalid\n") && !list.contains(key), "{list}");
    let id = list.split('\t').next().unwrap();
    assert_eq!(run(&["keys", "revoke", "--database", database, id]).await.0, 0);
    assert!(run(&["keys", "list", "--database", database]).await.1.contains("\trevoked\n"));

    let (code, _, stderr) = run(&["keys", "revoke", "--database", database, "key-nope"]).await;
    assert_eq!(
        (code, stderr.as_str()),
        (1, "connectors-server: there is no key \"key-nope\"; `keys list` shows the ids\n")
    );
    let (code, _, stderr) =
        run(&["keys", "create", "--database", database, "--workspace", " ", "--role", "admin"]).await;
    assert!(code == 1 && stderr.contains("the workspace must have 1 to 256 characters"), "{stderr}");
    let (code, _, stderr) =
        run(&["keys", "create", "--database", database, "--workspace", "w", "--role", "king"]).await;
    assert!(code == 2 && stderr.contains("[possible values: viewer, editor, admin]"), "{stderr}");
}

#[tokio::test]
async fn sigterm_ends_it_cleanly_and_the_log_has_one_line_a_request() {
    let mut server = Server::start_with(None, ServerOptions::default()).await.unwrap();
    let caller = crate::rig::Caller::new(&server, "default", "viewer").await;
    let answer = caller.get("/connectors?limit=5").await;
    assert!(matches!(server.stop().await.unwrap(), Exit::Code(0)));
    let log = server.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(&answer.request_id)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!((line["method"].as_str(), line["route"].as_str()), (Some("GET"), Some("/api/v1/connectors")));
    assert!(
        line["status"] == 200
            && line["ms"].is_u64()
            && line["workspace"].as_str().unwrap().starts_with("ws-"),
        "{line}"
    );
    assert!(log.contains("\"stopped\""), "{log}");
}
