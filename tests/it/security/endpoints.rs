//! X3: what is not permitted gets no connection, however its address is written, and wherever a permitted one sends us.

use serde_json::{Value, json};

use super::hostile::{Hostile, http, success};
use super::{Stage, ready};

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_address_gets_no_connection_however_it_is_written() {
    let permitted = Hostile::start(|_| success(&json!([]))).await;
    let victim = Hostile::start(|_| success(&json!([]))).await;
    let (good, bad) = (permitted.port(), victim.port());
    let stage = Stage::start("forms", &[&permitted.endpoint], &[]).await;
    stage.secret("key", "apiKey", "sk_live_canary").await;
    let forms = [
        format!("http://127.0.0.1:{bad}"),
        format!("http://127.1:{bad}"),
        format!("http://2130706433:{bad}"),
        format!("http://0x7f000001:{bad}"),
        format!("http://0x7f.0x0.0x0.0x1:{bad}"),
        format!("http://0177.0.0.1:{bad}"),
        format!("http://017700000001:{bad}"),
        format!("http://127.0.0.1.:{bad}"),
        format!("http://127.0.0.2:{bad}"),
        format!("http://\u{ff11}\u{ff12}\u{ff17}.0.0.1:{bad}"),
        format!("http://\u{2460}27.0.0.1:{bad}"),
        format!("http://%31%32%37.0.0.1:{bad}"),
        format!("http://0.0.0.0:{bad}"),
        format!("http://0:{bad}"),
        format!("http://[::1]:{bad}"),
        format!("http://[::]:{bad}"),
        format!("http://[::ffff:127.0.0.1]:{bad}"),
        format!("http://[::ffff:7f00:1]:{bad}"),
        format!("http://[64:ff9b::127.0.0.1]:{bad}"),
        format!("http://localhost:{bad}"),
        format!("http://LocalHost.:{bad}"),
        format!("http://api.localhost:{bad}"),
        format!("https://127.0.0.1:{bad}"),
        format!("http:127.0.0.1:{bad}"),
        format!("http:\\\\127.0.0.1:{bad}"),
        format!("HTTP://127.0.0.1:{bad}/api/v1"),
        // The permitted one as a user name, a path, a fragment, a port or a beginning.
        format!("http://127.0.0.1:{good}@127.0.0.1:{bad}"),
        format!("http://127.0.0.1%3A{good}@127.0.0.1:{bad}"),
        format!("http://127.0.0.1:{bad}\\@127.0.0.1:{good}"),
        format!("http://127.0.0.1:{bad}/@127.0.0.1:{good}"),
        format!("http://127.0.0.1:{bad}#@127.0.0.1:{good}"),
        format!("http://127.0.0.1:{bad}?@127.0.0.1:{good}"),
        format!("http://127.0.0.1:{good}.localhost:{bad}"),
        format!("http://127.0.0.1:0{bad}"),
        format!("http://127.0.0.1:\t{bad}"),
        "http://169.254.169.254".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "http://[fd00:ec2::254]".to_owned(),
        "http://metadata.google.internal".to_owned(),
        "http://2852039166".to_owned(),
        format!("ftp://127.0.0.1:{bad}"),
        format!("file://127.0.0.1:{bad}/etc/passwd"),
        format!("gopher://127.0.0.1:{bad}"),
        format!("//127.0.0.1:{bad}"),
        format!("127.0.0.1:{bad}"),
    ];
    for (n, form) in forms.iter().enumerate() {
        let name = format!("w{n}");
        let made = stage
            .cluster
            .request(reqwest::Method::POST, &stage.path("workspaces"), Some(&Stage::workspace(&name, form)))
            .await;
        if let Err(refused) = made {
            // As early as possible, and with what would be right.
            let said = refused.to_string();
            assert!(said.contains("endpoint must be") || said.contains("https://"), "{form}: {said}");
            continue;
        }
        let judged = |it: &Value| ready(it)["status"] == "False";
        let found = stage.until("workspaces", &name, "judged", judged).await;
        let (reason, message) = (&ready(&found)["reason"], ready(&found)["message"].as_str().unwrap());
        match reason.as_str().unwrap() {
            "EndpointNotPermitted" => {
                assert!(message.contains("nothing was sent there"), "{form}: {message}");
                assert!(message.contains("--permitted-endpoint"), "{form}: {message}");
            }
            "InvalidSpec" => assert!(message.starts_with("spec.endpoint: the endpoint"), "{form}: {message}"),
            other => panic!("{form} is {other}: {message}"),
        }
    }
    // Whatever was to follow has followed: a sound one that came last is served.
    stage.make("workspaces", Stage::workspace("sound", &permitted.endpoint)).await;
    stage.until_reason("workspaces", "sound", "Ready").await;
    assert_eq!(victim.connections(), 0, "a forbidden address was contacted: {:?}", victim.seen());
    assert!(permitted.connections() > 0);
    for asked in permitted.seen() {
        assert!(asked.line.starts_with("GET /api/v1/connectors"), "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_of_any_kind_is_followed_and_a_person_is_told() {
    let victim = Hostile::start(|_| success(&json!([]))).await;
    let target = format!("{}/api/v1/connectors", victim.endpoint);
    let api = Hostile::start(move |asked| {
        // The status stands at the beginning of the path, since an endpoint may have one.
        let status = asked.line.split('/').nth(1).and_then(|part| part.parse::<u16>().ok()).unwrap_or(200);
        let list = json!({"status": "success", "data": []}).to_string();
        let location = format!("location: {target}");
        match status {
            201 => http(200, &[&format!("refresh: 0; url={target}"), &location], list),
            202 => http(
                200,
                &[&format!("link: <{target}>; rel=canonical"), &format!("alt-svc: h2=\"{target}\"")],
                list,
            ),
            204 => {
                http(200, &[], format!("<html><meta http-equiv=refresh content=\"0; url={target}\"></html>"))
            }
            _ if asked.line.starts_with("POST") => http(status, &[&location], ""),
            // For creates: what comes before them is sound.
            _ if asked.line.contains("/create/") => http(200, &[], list),
            _ => http(status, &[&location], ""),
        }
    })
    .await;
    let stage = Stage::start("redirects", &[&api.endpoint], &[]).await;
    stage.secret("key", "apiKey", "sk_live_canary").await;
    stage.secret("external-id", "externalId", "ext-canary").await;
    let kinds = [300, 301, 302, 303, 305, 307, 308];
    for status in kinds {
        let endpoint = format!("{}/{status}", api.endpoint);
        stage.make("workspaces", Stage::workspace(&format!("list-{status}"), &endpoint)).await;
        let creating = format!("create-{status}");
        stage.make("workspaces", Stage::workspace(&creating, &format!("{endpoint}/create"))).await;
        stage.make("connectors", Stage::connector(&creating, &creating)).await;
    }
    for status in [201, 202, 204] {
        let endpoint = format!("{}/{status}", api.endpoint);
        stage.make("workspaces", Stage::workspace(&format!("list-{status}"), &endpoint)).await;
    }
    for status in kinds {
        let message = stage.until_reason("workspaces", &format!("list-{status}"), "ApiUnavailable").await;
        assert!(message.contains(&format!("HTTP {status}")), "{message}");
        assert!(message.contains("redirects are never followed"), "{message}");
        let name = format!("create-{status}");
        if matches!(status, 307 | 308) {
            let told =
                |it: &Value| ready(it)["message"].as_str().is_some_and(|text| text.contains("redirect"));
            stage.until("connectors", &name, "told of the redirect", told).await;
        } else {
            // The others may come after the work is done.
            stage.until_reason("connectors", &name, "CreateOutcomeUnknown").await;
        }
    }
    for status in [201, 202] {
        stage.until_reason("workspaces", &format!("list-{status}"), "Ready").await;
    }
    let message = stage.until_reason("workspaces", "list-204", "ApiUnavailable").await;
    assert!(message.contains("it is not JSON"), "{message}");
    assert_eq!(victim.connections(), 0, "a redirect was followed: {:?}", victim.seen());
}
