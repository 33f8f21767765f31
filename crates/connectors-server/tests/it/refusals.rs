//! Bad input: each refused with the contract's error shape, a stable code, and a sentence that helps.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use testbed::{Server, ServerOptions};

use crate::rig::{Caller, any_connector, server};

#[tokio::test]
async fn bodies_that_cannot_be_taken_are_refused_and_create_nothing() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    let post = || caller.request(Method::POST, "/connectors");

    for (text, expected) in [
        ("{\"name\":", "the body is not JSON: it breaks at line 1, column 8"),
        ("nonsense", "the body is not JSON"),
        ("[1]", "the body must be a JSON object"),
        ("", "the body is not JSON"),
    ] {
        let answer = caller.send(post().header("content-type", "application/json").body(text)).await;
        let message = answer.refused(400, "INVALID_JSON");
        assert!(message.starts_with(expected), "{text}: {message}");
    }
    let plain = caller.send(post().header("content-type", "text/plain").body("{}")).await;
    assert!(plain.refused(415, "UNSUPPORTED_MEDIA_TYPE").contains("application/json"));

    let large = json!({"name": "x".repeat(70_000), "provider": "aws", "config": {}});
    let answer = caller.post("/connectors", &large).await;
    assert_eq!(answer.refused(413, "PAYLOAD_TOO_LARGE"), "the body has more than 64 KiB");

    assert_eq!(caller.get("/connectors").await.data(200), &json!([]));
}

#[tokio::test]
async fn a_caller_that_sends_too_much_reads_why_it_is_refused_every_time() {
    let server = server().await;
    let admin = Caller::new(&server, "default", "admin").await;
    let viewer = Caller::new(&server, "default", "viewer").await;
    for _ in 0..10 {
        // With an announced length, without one, and by somebody who is refused before the body is looked at.
        let post = || admin.request(Method::POST, "/connectors").header("content-type", "application/json");
        admin.send(post().body(vec![b' '; 3_000_000])).await.refused(413, "PAYLOAD_TOO_LARGE");
        let pieces = (0..700).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000]));
        let stream = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
        admin.send(post().body(stream)).await.refused(413, "PAYLOAD_TOO_LARGE");
        let refused = viewer.request(Method::POST, "/connectors").header("content-type", "application/json");
        viewer.send(refused.body(vec![b' '; 1_000_000])).await.refused(403, "FORBIDDEN");
    }
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_not_waited_for_for_long() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = server().await;
    let key = server.create_key("default", "admin").await.unwrap();
    let mut stream =
        tokio::net::TcpStream::connect(server.endpoint().trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /api/v1/connectors HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{",
        secrecy::ExposeSecret::expose_secret(&key)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(std::time::Duration::from_secs(30), read).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("REQUEST_TIMEOUT"), "{answer}");
}

#[tokio::test]
async fn a_create_with_wrong_values_names_each_of_them() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    let with = |key: &str, value: Value| {
        let mut body = any_connector("x");
        body["config"][key] = value;
        body
    };
    let without = |key: &str| {
        let mut body = any_connector("x");
        body["config"].as_object_mut().unwrap().remove(key);
        body
    };
    for (body, field, expected) in [
        (
            json!({"name": "x", "provider": "oracle", "config": {}}),
            "provider",
            "provider must be one of aws, gcp, azure",
        ),
        (json!({"provider": "aws", "config": {}}), "name", "name is required"),
        (without("role_arn"), "config.role_arn", "config.role_arn is required"),
        (without("region"), "config.region", "config.region is required"),
        // moto would take a role without an external id; this server does not even ask.
        (without("external_id"), "config.external_id", "config.external_id is required"),
        (with("external_id", json!("")), "config.external_id", "config.external_id must not be empty"),
        (
            with("containers", json!(["x"])),
            "config.containers",
            "config.containers is not known for provider aws",
        ),
        (
            with("role_arn", json!("arn:aws:iam::1:role/x")),
            "config.role_arn",
            "config.role_arn must be the ARN of an IAM role",
        ),
        (
            with("region", json!("Frankfurt")),
            "config.region",
            "config.region must be an AWS region such as eu-west-1",
        ),
        (
            with("prefixes", json!(["invoices"])),
            "config.prefixes[0]",
            "config.prefixes[0] must end with \"/\"",
        ),
        (any_connector(&"n".repeat(300)), "name", "name must have at most 256 characters"),
    ] {
        let answer = caller.post("/connectors", &body).await;
        let message = answer.refused(400, "INVALID_PARAMETERS");
        assert!(message.contains(expected), "{message}");
        assert!(answer.body["error"]["details"]["fields"][field].is_string(), "{field}: {}", answer.body);
    }
    assert_eq!(caller.get("/connectors").await.data(200), &json!([]));
}

#[tokio::test]
async fn a_name_is_taken_once_in_a_workspace_and_again_in_another() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    caller.create(&any_connector("Billing archive")).await;
    let second = caller.post("/connectors", &any_connector("Billing archive")).await;
    assert!(second.refused(409, "CONNECTOR_NAME_CONFLICT").contains("\"Billing archive\""));
    let other = Caller::new(&server, "other", "admin").await;
    other.create(&any_connector("Billing archive")).await;
}

#[tokio::test]
async fn a_name_is_taken_once_also_by_twenty_at_the_same_time() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    let body = any_connector("same");
    let answers = futures::future::join_all((0..20).map(|_| caller.post("/connectors", &body))).await;
    let created = answers.iter().filter(|a| a.status == 201).count();
    assert_eq!(created, 1);
    assert!(answers.iter().filter(|a| a.status != 201).all(|a| a.status == 409));
}

#[tokio::test]
async fn page_sizes_and_cursors_out_of_range_are_refused() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "viewer").await;
    for limit in ["0", "101", "-1", "ten"] {
        let answer = caller.get(&format!("/connectors?limit={limit}")).await;
        assert_eq!(
            answer.refused(400, "INVALID_PARAMETERS"),
            "limit must be a number from 1 to 100",
            "{limit}"
        );
    }
    for cursor in ["nonsense!", "e30", "eyJsYXN0X2lkIjo3fQ"] {
        let answer = caller.get(&format!("/connectors?cursor={cursor}")).await;
        assert!(answer.refused(400, "INVALID_CURSOR").contains("begin again without it"), "{cursor}");
    }
    let answer = caller.get("/connectors?provider=oracle").await;
    assert_eq!(answer.refused(400, "INVALID_PARAMETERS"), "provider must be one of aws, gcp, azure");
    let answer = caller.get("/connectors?status=sleepy").await;
    assert!(answer.refused(400, "INVALID_PARAMETERS").starts_with("status must be one of active"));
}

#[tokio::test]
async fn another_workspaces_connectors_and_scans_do_not_exist() {
    let server = server().await;
    let owner = Caller::new(&server, "default", "admin").await;
    let id = owner.create(&any_connector("a")).await;
    let stranger = Caller::new(&server, "other", "admin").await;

    stranger.get(&format!("/connectors/{id}")).await.refused(404, "CONNECTOR_NOT_FOUND");
    stranger.delete(&format!("/connectors/{id}")).await.refused(404, "CONNECTOR_NOT_FOUND");
    stranger.post(&format!("/connectors/{id}/test"), &json!({})).await.refused(404, "CONNECTOR_NOT_FOUND");
    stranger
        .post(&format!("/connectors/{id}/scan"), &json!({"type": "full"}))
        .await
        .refused(404, "CONNECTOR_NOT_FOUND");
    assert_eq!(stranger.get("/connectors").await.data(200), &json!([]));
    owner.get(&format!("/connectors/{id}")).await.data(200);
}

#[tokio::test]
async fn callers_without_a_good_key_are_told_to_send_one() {
    let server = server().await;
    let wrong = Caller::with_key(&server, SecretString::from("sk_live_wrong"));
    let answer = wrong.get("/connectors").await;
    assert_eq!(answer.refused(401, "UNAUTHORIZED"), "this API key is not known here, or was revoked");

    let caller = Caller::new(&server, "default", "admin").await;
    for header in ["", "Basic abc", "sk_live_x", "Bearer "] {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request =
            request.get(format!("{}/api/v1/connectors", server.endpoint())).header("authorization", header);
        let answer = caller.send(request).await;
        assert!(answer.refused(401, "UNAUTHORIZED").contains("Authorization: Bearer"), "{header:?}");
    }
}

#[tokio::test]
async fn each_role_may_do_what_it_may_and_is_told_what_it_may_not() {
    let server = server().await;
    let admin = Caller::new(&server, "default", "admin").await;
    let editor = Caller::new(&server, "default", "editor").await;
    let viewer = Caller::new(&server, "default", "viewer").await;
    let id = admin.create(&any_connector("a")).await;

    for (caller, role) in [(&viewer, "viewer"), (&editor, "editor")] {
        caller.get("/connectors").await.data(200);
        caller.get(&format!("/connectors/{id}")).await.data(200);
        let create = caller.post("/connectors", &any_connector("b")).await;
        assert_eq!(
            create.refused(403, "FORBIDDEN"),
            format!("the role of this API key, {role}, may not create connectors; it takes admin or higher")
        );
        caller.delete(&format!("/connectors/{id}")).await.refused(403, "FORBIDDEN");
    }
    viewer.post(&format!("/connectors/{id}/test"), &json!({})).await.refused(403, "FORBIDDEN");
    viewer.post(&format!("/connectors/{id}/scan"), &json!({"type": "full"})).await.refused(403, "FORBIDDEN");
    // The editor gets as far as the connector's state.
    editor
        .post(&format!("/connectors/{id}/scan"), &json!({"type": "full"}))
        .await
        .refused(409, "CONNECTOR_NOT_ACTIVE");
    assert_eq!(admin.get("/connectors").await.data(200).as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_connector_that_never_passed_its_test_is_not_scanned() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create(&any_connector("a")).await;
    let answer = caller.post(&format!("/connectors/{id}/scan"), &json!({"type": "full"})).await;
    let message = answer.refused(409, "CONNECTOR_NOT_ACTIVE");
    assert!(message.contains("\"pending_test\"") && message.contains("run its test"), "{message}");
    for (body, expected) in [
        (json!({"kind": "full"}), "kind is not known; known are type, options"),
        (json!({"options": {"max_file": 1}}), "options.max_file is not known"),
        (json!({"options": {"max_files": "many"}}), "options.max_files has the wrong type"),
        (json!({"options": []}), "options must be an object"),
    ] {
        let answer = caller.post(&format!("/connectors/{id}/scan"), &body).await;
        let message = answer.refused(400, "INVALID_PARAMETERS");
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn unknown_routes_and_methods_answer_in_the_contracts_shape() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    caller.get("/policies").await.refused(404, "NOT_FOUND");
    caller.get("/connectors/%ff").await.refused(404, "NOT_FOUND");
    caller.get("/connectors/conn-nope").await.refused(404, "CONNECTOR_NOT_FOUND");
    caller.get("/scans/scan-nope").await.refused(404, "SCAN_NOT_FOUND");
    caller.send(caller.request(Method::PUT, "/connectors")).await.refused(405, "METHOD_NOT_ALLOWED");
    caller.send(caller.request(Method::PATCH, "/connectors/conn-x")).await.refused(405, "METHOD_NOT_ALLOWED");
}

#[tokio::test]
async fn a_full_database_refuses_a_create_whole_and_takes_it_again_when_there_is_room() {
    let options = ServerOptions { args: vec!["--database-max-mib=1".to_owned()], ..ServerOptions::default() };
    let server = Server::start_with(None, options).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let body = |n: usize| {
        let mut body = any_connector(&format!("c{n}"));
        body["config"]["buckets"] =
            (0..900).map(|i| json!(format!("bucket-{i:04}-{}", "x".repeat(40)))).collect();
        body
    };
    let mut created = Vec::new();
    let refused = loop {
        let answer = caller.post("/connectors", &body(created.len())).await;
        if answer.status != 201 {
            break answer;
        }
        created.push(answer.data(201)["id"].as_str().unwrap().to_owned());
        assert!(created.len() < 100, "a MiB does not hold a hundred of these");
    };
    assert!(refused.refused(507, "STORAGE_FULL").contains("nothing was changed"));
    assert!(!created.is_empty());

    let listed = caller.get("/connectors?limit=100").await;
    assert_eq!(listed.data(200).as_array().unwrap().len(), created.len());
    caller.delete(&format!("/connectors/{}", created[0])).await.data(200);
    caller.create(&body(created.len())).await;
}
