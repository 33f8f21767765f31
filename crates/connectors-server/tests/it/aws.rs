//! AWS for real: AssumeRole with the external id, buckets listed and read with the temporary credentials.

use serde_json::{Value, json};
use testbed::{Aws, Server, ServerOptions, pii, port};

use crate::rig::{Caller, aws_connector, with_s3_at};

async fn test(caller: &Caller, body: &Value) -> Value {
    let id = caller.create(body).await;
    let outcome = caller.post(&format!("/connectors/{id}/test"), &json!({})).await.data(200).clone();
    let state = caller.get(&format!("/connectors/{id}")).await.data(200)["status"].clone();
    assert_eq!(state, if outcome["connected"] == true { "active" } else { "error" });
    outcome
}

#[tokio::test]
async fn a_test_tells_apart_what_is_wrong() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("hr-files").await.unwrap();
    aws.create_bucket("sales").await.unwrap();
    for n in 0..3 {
        aws.put_object("hr-files", &format!("in/{n}.csv"), "a,b\n").await.unwrap();
    }
    aws.put_object("hr-files", "in/readme.txt", "x").await.unwrap();
    aws.put_object("sales", "x.csv", "x").await.unwrap();
    let narrow =
        aws.create_role("Narrow", "ext-narrow", &["s3:ListBucket"], &["arn:aws:s3:::sales"]).await.unwrap();
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;

    let mut body = aws_connector(&aws, "all", &["hr-files", "sales"]);
    let outcome = test(&caller, &body).await;
    assert_eq!(outcome["connected"], true, "{outcome}");
    assert_eq!(outcome["buckets_accessible"], json!(["hr-files", "sales"]));
    assert_eq!(outcome["sample_objects"], 5);
    assert!(
        outcome["latency_ms"].is_u64() && outcome.get("cause").is_none() && outcome.get("message").is_none()
    );

    body = aws_connector(&aws, "scoped", &["hr-files"]);
    body["config"]["prefixes"] = json!(["in/"]);
    body["config"]["file_types"] = json!(["csv"]);
    assert_eq!(test(&caller, &body).await["sample_objects"], 3);

    body = aws_connector(&aws, "wrong external id", &["hr-files"]);
    body["config"]["external_id"] = json!("not-the-external-id");
    let outcome = test(&caller, &body).await;
    assert_eq!((&outcome["connected"], &outcome["cause"]), (&json!(false), &json!("assume_role_denied")));
    let message = outcome["message"].as_str().unwrap();
    assert!(
        message.contains("the external id is the one in its condition") && message.contains(&aws.role_arn()),
        "{message}"
    );
    assert!(!message.contains("not-the-external-id"), "{message}");

    let outcome = test(&caller, &aws_connector(&aws, "no bucket", &["hr-files", "no-such-bucket"])).await;
    assert_eq!((&outcome["connected"], &outcome["cause"]), (&json!(false), &json!("bucket_not_found")));
    assert_eq!(outcome["buckets_accessible"], json!(["hr-files"]));
    assert_eq!(
        outcome["message"],
        "cannot list bucket \"no-such-bucket\": there is no such bucket; correct `buckets`"
    );

    body = aws_connector(&aws, "denied", &["hr-files", "sales"]);
    body["config"]["role_arn"] = json!(narrow);
    body["config"]["external_id"] = json!("ext-narrow");
    let outcome = test(&caller, &body).await;
    assert_eq!(outcome["cause"], "access_denied", "{outcome}");
    assert!(outcome["message"].as_str().unwrap().contains("grant it s3:ListBucket"), "{outcome}");

    let outcome = test(&caller, &aws_connector(&aws, "none", &[])).await;
    assert_eq!(outcome["cause"], "no_buckets_in_scope", "{outcome}");
    assert!(
        outcome["message"].as_str().unwrap().contains("name the buckets to scan in `config.buckets`"),
        "{outcome}"
    );
}

#[tokio::test]
async fn endpoints_and_credentials_that_fail_are_named() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("hr-files").await.unwrap();
    let nowhere = format!("http://127.0.0.1:{}", port::free().unwrap());
    let with = |args: Vec<String>, env: Vec<(String, String)>| ServerOptions { args, env, database: None };
    let wrong_key = vec![("AWS_ACCESS_KEY_ID".to_owned(), "AKIAUNKNOWN".to_owned())];
    let no_profile = vec![
        ("AWS_CONFIG_FILE".to_owned(), "/nonexistent".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE".to_owned(), "/nonexistent".to_owned()),
    ];
    for (cloud, options, cause, expected) in [
        (
            None,
            with(
                vec![format!("--sts-endpoint={nowhere}")],
                vec![
                    ("AWS_ACCESS_KEY_ID".to_owned(), "AKIA".to_owned()),
                    ("AWS_SECRET_ACCESS_KEY".to_owned(), "x".to_owned()),
                ],
            ),
            "endpoint_unreachable",
            "nothing answers at the endpoint of the token service",
        ),
        (
            None,
            with_s3_at(&aws, &nowhere),
            "endpoint_unreachable",
            "cannot list bucket \"hr-files\": nothing answers at the storage endpoint",
        ),
        (
            Some(&aws),
            with(vec![], wrong_key),
            "server_credentials_invalid",
            "AWS refused this server's own credentials",
        ),
        (
            None,
            with(vec![], no_profile),
            "server_credentials_missing",
            "this server has no AWS credentials of its own",
        ),
    ] {
        let server = Server::start_with(cloud, options).await.unwrap();
        let caller = Caller::new(&server, "default", "admin").await;
        let outcome = test(&caller, &aws_connector(&aws, "x", &["hr-files"])).await;
        assert_eq!((&outcome["connected"], &outcome["cause"]), (&json!(false), &json!(cause)), "{outcome}");
        assert!(outcome["message"].as_str().unwrap().starts_with(expected), "{outcome}");
    }
}

#[tokio::test]
async fn a_scan_finds_what_was_planted_and_its_figures_agree_everywhere() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("exports").await.unwrap();
    let files = pii::files(11, 60);
    let planted = pii::planted(&files).total() as f64;
    aws.put_objects("exports", files.into_iter().map(|f| (f.key, f.text.into_bytes()))).await.unwrap();
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["exports"])).await;

    let scan = caller.start(&id, &json!({"type": "full"})).await;
    let again = caller.post(&format!("/connectors/{id}/scan"), &json!({"type": "full"})).await;
    assert!(again.refused(409, "SCAN_ALREADY_RUNNING").contains("wait for its end"));
    let ended = caller.ended(&scan).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    let progress = &ended["progress"];
    assert_eq!(
        (&progress["files_total"], &progress["files_processed"], &progress["files_failed"]),
        (&json!(60), &json!(60), &json!(0))
    );
    assert_eq!(progress["percent_complete"], 100.0);
    assert_eq!(ended["coverage"]["enumeration_status"], "completed");
    assert_eq!(ended["connector_id"], id.as_str());

    let findings = progress["findings_count"].as_u64().unwrap();
    let share = findings as f64 / planted;
    assert!((0.97..=1.03).contains(&share), "{findings} found, {planted} planted");

    let item = caller.get("/connectors").await.data(200)[0].clone();
    let read = caller.get(&format!("/connectors/{id}")).await.data(200).clone();
    let history = &read["scan_history"][0];
    assert_eq!((&item["findings_count"], &history["findings_count"]), (&json!(findings), &json!(findings)));
    assert_eq!(
        (&history["scan_id"], &history["status"], &history["files_processed"]),
        (&json!(scan), &json!("completed"), &json!(60))
    );
    assert_eq!(item["last_scan"], history["started_at"]);
    assert_eq!(read["updated_at"], history["completed_at"]);
    // SSNs are there, so S is 1; exposure counts as Internal, the unnamed factor as nothing.
    let volume = ((findings as f64 + 1.0).log10() / 4.0).min(1.0);
    assert_eq!(item["risk_score"], (40.0 + 25.0 * volume + 8.0).round() as u64);
    assert_eq!(item["risk_score"], read["risk_score"]);
}

#[tokio::test]
async fn options_and_scope_are_honoured_and_odd_objects_do_not_stop_a_scan() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    let line = "social security number 536-22-4417\n";
    for key in ["in/a.csv", "in/b.csv", "in/deep/c.CSV", "in/d.txt", "out/e.csv"] {
        aws.put_object("bucket", key, line).await.unwrap();
    }
    aws.put_object("bucket", "in/", "").await.unwrap();
    aws.put_object("bucket", "in/packed.gz", b"\x1f\x8b\x08\0\0\0\0\0".to_vec()).await.unwrap();
    aws.put_object("bucket", "in//odd.csv", line).await.unwrap();
    aws.put_object("bucket", "in/z/ü ö+%.csv", line).await.unwrap();
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let mut body = aws_connector(&aws, "x", &["bucket"]);
    body["config"]["prefixes"] = json!(["in/"]);
    let id = caller.create_active(&body).await;
    let scan = async |options: Value| {
        let scan = caller.start(&id, &json!({"type": "full", "options": options})).await;
        caller.ended(&scan).await
    };

    let all = scan(json!({})).await;
    assert_eq!(all["status"], "completed", "{all}");
    // a, b, c, d, ü; the odd key cannot be addressed, the archive is not text, the folder marker is empty.
    assert_eq!(all["progress"]["findings_count"], 5, "{all}");
    assert_eq!(
        (&all["progress"]["files_total"], &all["progress"]["files_failed"]),
        (&json!(7), &json!(1)),
        "{all}"
    );
    assert_eq!(
        (&all["coverage"]["total_enumerated"], &all["coverage"]["total_skipped"]),
        (&json!(8), &json!(2)),
        "{all}"
    );

    let csv = scan(json!({"file_types": ["csv"], "max_workers": 1})).await;
    assert_eq!(csv["progress"]["findings_count"], 4, "{csv}");
    assert_eq!(csv["workers"]["total"], 1);
    let deep = scan(json!({"prefixes": ["in/deep/"]})).await;
    assert_eq!(deep["progress"]["findings_count"], 1, "{deep}");
    let two = scan(json!({"max_files": 2, "file_types": ["csv", "txt"]})).await;
    assert_eq!(two["progress"]["files_total"], 2, "{two}");

    for (options, expected) in [
        (json!({"llm_assist": true}), "this server has no language model"),
        (json!({"prefixes": ["out/"]}), "lies outside of the connector's prefixes"),
        (json!({"max_files": 0}), "options.max_files must be at least 1"),
    ] {
        let answer = caller
            .post(&format!("/connectors/{id}/scan"), &json!({"type": "full", "options": options}))
            .await;
        let message = answer.refused(400, "INVALID_PARAMETERS");
        assert!(message.contains(expected), "{message}");
    }
    let answer = caller.post(&format!("/connectors/{id}/scan"), &json!({"type": "smart"})).await;
    assert!(answer.refused(400, "INVALID_PARAMETERS").contains("\"full\" or \"incremental\""));
}

#[tokio::test]
async fn an_incremental_scan_reads_what_is_new_or_changed_and_keeps_the_rest_in_the_figures() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    let with = |n: usize| "social security number 536-22-4417\n".repeat(n);
    for key in ["1.txt", "2.txt", "3.txt"] {
        aws.put_object("bucket", key, with(2)).await.unwrap();
    }
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let id = caller.create_active(&aws_connector(&aws, "x", &["bucket"])).await;
    let incremental = async || {
        let scan = caller.start(&id, &json!({"type": "incremental"})).await;
        let ended = caller.ended(&scan).await;
        assert_eq!(ended["status"], "completed", "{ended}");
        let item = caller.get("/connectors").await.data(200)[0]["findings_count"].as_u64().unwrap();
        (
            ended["progress"]["files_total"].as_u64().unwrap(),
            ended["progress"]["findings_count"].as_u64().unwrap(),
            item,
        )
    };
    assert_eq!(incremental().await, (3, 6, 6), "the first one has nothing to compare with");
    assert_eq!(incremental().await, (0, 0, 6), "nothing changed");
    aws.put_object("bucket", "2.txt", with(3)).await.unwrap();
    aws.put_object("bucket", "4.txt", with(1)).await.unwrap();
    aws.delete_object("bucket", "3.txt").await.unwrap();
    assert_eq!(incremental().await, (2, 4, 6), "2 kept in 1.txt, 3 in 2.txt, 1 in 4.txt");
    assert_eq!(incremental().await, (0, 0, 6));
}

#[tokio::test]
async fn a_role_that_may_list_but_not_read_fails_the_scan_with_the_reason() {
    let aws = Aws::start().await.unwrap();
    aws.create_bucket("bucket").await.unwrap();
    for n in 0..3 {
        aws.put_object("bucket", &format!("{n}.txt"), "x").await.unwrap();
    }
    let role =
        aws.create_role("Lister", "ext-lister", &["s3:ListBucket"], &["arn:aws:s3:::bucket"]).await.unwrap();
    let server = Server::start(&aws).await.unwrap();
    let caller = Caller::new(&server, "default", "admin").await;
    let mut body = aws_connector(&aws, "x", &["bucket"]);
    body["config"]["role_arn"] = json!(role);
    body["config"]["external_id"] = json!("ext-lister");
    let id = caller.create_active(&body).await;
    let scan = caller.start(&id, &json!({"type": "full"})).await;
    let ended = caller.ended(&scan).await;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert!(ended["message"].as_str().unwrap().starts_with("none of the 3 files could be read"), "{ended}");
    let item = &caller.get("/connectors").await.data(200)[0].clone();
    assert_eq!(
        (&item["last_scan"], &item["risk_score"]),
        (&Value::Null, &Value::Null),
        "a failed scan changes no figure"
    );
}
