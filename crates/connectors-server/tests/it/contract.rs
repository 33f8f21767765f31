//! The contract's routes and shapes, walked with the project's own client and as raw JSON.

use connectors_api::{
    AwsConfig, AzureConfig, Client, ConnectorConfig, ConnectorState, CreateConnector, Endpoint, GcpConfig,
    ListLimits, ListQuery, Scope,
};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::rig::{Caller, any_connector, server};

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn a_connector_is_created_read_listed_and_deleted_in_the_documented_shapes() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;

    let created = caller.post("/connectors", &any_connector("Billing archive")).await;
    let data = created.data(201);
    assert_eq!(keys(data), ["created_at", "id", "name", "provider", "status"]);
    assert_eq!(data["status"], "pending_test");
    let id = data["id"].as_str().unwrap();
    assert!(
        id.starts_with("conn-") && id[5..].bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()),
        "{id}"
    );

    let list = caller.get("/connectors").await;
    let item = &list.data(200)[0];
    assert_eq!(list.body["pagination"], json!({"limit": 20, "has_more": false}));
    assert_eq!(
        keys(item),
        [
            "config",
            "created_at",
            "findings_count",
            "id",
            "last_scan",
            "name",
            "provider",
            "risk_score",
            "status"
        ]
    );
    assert_eq!(
        (&item["last_scan"], &item["risk_score"], &item["findings_count"]),
        (&Value::Null, &Value::Null, &json!(0))
    );
    assert_eq!(
        item["config"],
        json!({"role_arn": "arn:aws:iam::210987654321:role/BillingReader", "region": "eu-west-1",
            "buckets": ["billing-2023"], "prefixes": ["invoices/"], "file_types": ["csv"]})
    );

    let read = caller.get(&format!("/connectors/{id}")).await;
    assert_eq!(
        keys(read.data(200)),
        [
            "config",
            "created_at",
            "id",
            "name",
            "provider",
            "risk_score",
            "scan_history",
            "status",
            "updated_at"
        ]
    );

    let deleted = caller.delete(&format!("/connectors/{id}")).await;
    assert_eq!(deleted.data(200), &json!({"id": id, "deleted": true}));
    caller.delete(&format!("/connectors/{id}")).await.refused(404, "CONNECTOR_NOT_FOUND");
    caller.get(&format!("/connectors/{id}")).await.refused(404, "CONNECTOR_NOT_FOUND");
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps_while_connectors_come_and_go() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(caller.create(&any_connector(&format!("c{n}"))).await);
    }
    let first = caller.get("/connectors?limit=3").await;
    let cursor = first.body["pagination"]["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(first.body["pagination"]["has_more"], true);
    // The connector that the cursor names goes, and a new one comes.
    caller.delete(&format!("/connectors/{}", ids[2])).await.data(200);
    ids.push(caller.create(&any_connector("c7")).await);
    let rest = caller.get(&format!("/connectors?limit=100&cursor={cursor}")).await;
    let seen: Vec<_> = rest.data(200).as_array().unwrap().iter().map(|i| i["id"].as_str().unwrap()).collect();
    assert_eq!(seen, ids[3..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rest.body["pagination"], json!({"limit": 100, "has_more": false}));
}

#[tokio::test]
async fn lists_are_filtered_by_provider_and_state() {
    let server = server().await;
    let caller = Caller::new(&server, "default", "admin").await;
    caller.create(&any_connector("a")).await;
    let gcp = json!({"name": "g", "provider": "gcp", "config": {"project_id": "acme-lake-42",
        "service_account_email": "reader@acme-lake-42.iam.gserviceaccount.com",
        "wif_provider": "projects/998877665544/locations/global/workloadIdentityPools/pool-a/providers/prov-a"}});
    let id = caller.create(&gcp).await;
    caller.post(&format!("/connectors/{id}/test"), &json!({})).await.data(200);

    for (query, names) in [
        ("provider=aws", vec!["a"]),
        ("provider=gcp", vec!["g"]),
        ("provider=azure", vec![]),
        ("status=pending_test", vec!["a"]),
        ("status=error", vec!["g"]),
        ("status=active&provider=", vec![]),
    ] {
        let list = caller.get(&format!("/connectors?{query}")).await;
        let found: Vec<_> =
            list.data(200).as_array().unwrap().iter().map(|i| i["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
    }
}

#[tokio::test]
async fn clouds_that_this_server_cannot_reach_yet_say_so_plainly() {
    let server = server().await;
    let key = server.create_key("default", "admin").await.unwrap();
    let endpoint = Endpoint::parse(server.endpoint()).unwrap();
    let client = Client::builder(endpoint, key).without_proxies().build().unwrap();

    for config in [
        ConnectorConfig::Gcp(GcpConfig {
            project_id: "acme-lake-42".to_owned(),
            service_account_email: "reader@acme-lake-42.iam.gserviceaccount.com".to_owned(),
            wif_provider: "projects/1/locations/global/workloadIdentityPools/pool-a/providers/prov-a"
                .to_owned(),
        }),
        ConnectorConfig::Azure(AzureConfig {
            tenant_id: "6f1d2c3b-0000-4000-8000-aabbccddeeff".to_owned(),
            client_id: "0b9a8f7e-0000-4000-8000-112233445566".to_owned(),
            client_secret: SecretString::from("canary-secret"),
            storage_account: "acmelake".to_owned(),
        }),
    ] {
        let provider = config.provider().to_string();
        let create = CreateConnector { name: provider.clone(), config, scope: Scope::default() };
        let id = client.create(&create).await.unwrap().value.id;
        let outcome = client.test(&id, None).await.unwrap().value;
        assert!(!outcome.connected);
        assert_eq!(outcome.cause.as_deref(), Some("provider_not_supported"));
        let message = outcome.message.unwrap();
        assert!(
            message.contains(&provider) && message.contains("cannot reach their storage yet"),
            "{message}"
        );
        let read = client.get(&id).await.unwrap().value;
        assert_eq!(read.status, ConnectorState::Error);
        assert!(!format!("{read:?}").contains("canary-secret"));
        client.delete(&id).await.unwrap();
    }
    assert!(!server.log().contains("canary-secret"));
}

#[tokio::test]
async fn the_projects_client_walks_all_pages_and_meets_no_surprise() {
    let server = server().await;
    let key = server.create_key("default", "admin").await.unwrap();
    let endpoint = Endpoint::parse(server.endpoint()).unwrap();
    let client = Client::builder(endpoint, key).without_proxies().build().unwrap();
    for n in 0..45 {
        let create = CreateConnector {
            name: format!("c{n}"),
            config: ConnectorConfig::Aws(AwsConfig {
                role_arn: "arn:aws:iam::210987654321:role/BillingReader".to_owned(),
                external_id: SecretString::from("ext-51c0ffee"),
                region: "eu-west-1".to_owned(),
            }),
            scope: Scope::default(),
        };
        let created = client.create(&create).await.unwrap().value;
        let read = client.get(&created.id).await.unwrap().value;
        assert_eq!(
            connectors_api::readable_config_matches(&create.readable_config(), &read.config),
            connectors_api::ConfigMatch::Matches
        );
    }
    let query = ListQuery { limit: Some(10), ..ListQuery::default() };
    let listing = client.list(&query, ListLimits::default()).await.unwrap();
    assert_eq!(listing.items.len(), 45);
}

#[tokio::test]
async fn health_is_answered_without_a_key() {
    let server = server().await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("{}/healthz", server.endpoint())).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
}
