//! What the tests of this binary share: a caller that sees answers as they are on the wire.

use std::time::Duration;

use reqwest::Method;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use testbed::{Aws, Server, ServerOptions};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) request_id: String,
}

impl Answer {
    /// The `data` of a success with this status.
    pub(crate) fn data(&self, status: u16) -> &Value {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["status"], "success", "{}", self.body);
        self.check_metadata();
        &self.body["data"]
    }

    /// Checks that it is a refusal in the contract's shape, and answers its message.
    pub(crate) fn refused(&self, status: u16, code: &str) -> &str {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.body["status"], "error", "{}", self.body);
        assert_eq!(self.body["error"]["code"], code, "{}", self.body);
        assert!(self.body["error"]["details"].is_object(), "{}", self.body);
        self.check_metadata();
        self.body["error"]["message"].as_str().unwrap()
    }

    fn check_metadata(&self) {
        assert!(self.request_id.starts_with("req-"), "{}", self.request_id);
        assert_eq!(self.body["metadata"]["request_id"], self.request_id.as_str());
        let time = self.body["metadata"]["timestamp"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.len() == 20, "{time}");
    }
}

/// Somebody with a key.
#[derive(Clone)]
pub(crate) struct Caller {
    http: reqwest::Client,
    endpoint: String,
    key: SecretString,
}

impl Caller {
    pub(crate) async fn new(server: &Server, workspace: &str, role: &str) -> Self {
        let key = server.create_key(workspace, role).await.unwrap();
        Self::with_key(server, key)
    }

    pub(crate) fn with_key(server: &Server, key: SecretString) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        Self { http, endpoint: server.endpoint().to_owned(), key }
    }

    /// A request below `/api/v1` with the key, to be changed before it is sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}/api/v1{path}", self.endpoint))
            .bearer_auth(self.key.expose_secret())
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let header = response.headers().get("x-request-id").map(|v| v.to_str().unwrap().to_owned());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{status}, not JSON: {text:?}"));
        Answer { status, body, request_id: header.unwrap_or_default() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Creates a connector and answers its id.
    pub(crate) async fn create(&self, body: &Value) -> String {
        self.post("/connectors", body).await.data(201)["id"].as_str().unwrap().to_owned()
    }

    /// Creates a connector, tests it, and answers its id.
    pub(crate) async fn create_active(&self, body: &Value) -> String {
        let id = self.create(body).await;
        let test = self.post(&format!("/connectors/{id}/test"), &json!({})).await;
        assert_eq!(test.data(200)["connected"], true, "{}", test.body);
        id
    }

    /// Starts a scan and answers its id.
    pub(crate) async fn start(&self, connector: &str, body: &Value) -> String {
        let answer = self.post(&format!("/connectors/{connector}/scan"), body).await;
        answer.data(201)["scan_id"].as_str().unwrap().to_owned()
    }

    /// Waits until a scan has ended, and answers what it reads.
    pub(crate) async fn ended(&self, scan: &str) -> Value {
        let mut last = Value::Null;
        let read = async || {
            last = self.get(&format!("/scans/{scan}")).await.data(200).clone();
            last["status"] == "completed" || last["status"] == "failed"
        };
        if testbed::wait::until("the scan to end", Duration::from_secs(120), read).await.is_err() {
            panic!("the scan did not end: {last}");
        }
        last
    }
}

/// A connector of the testbed's role.
pub(crate) fn aws_connector(aws: &Aws, name: &str, buckets: &[&str]) -> Value {
    json!({"name": name, "provider": "aws", "config": {
        "role_arn": aws.role_arn(), "external_id": aws.external_id(), "region": testbed::REGION, "buckets": buckets}})
}

/// A connector that nobody will reach, for tests of the API alone.
pub(crate) fn any_connector(name: &str) -> Value {
    json!({"name": name, "provider": "aws", "config": {
        "role_arn": "arn:aws:iam::210987654321:role/BillingReader", "external_id": "ext-51c0ffee",
        "region": "eu-west-1", "buckets": ["billing-2023"], "prefixes": ["invoices/"], "file_types": ["csv"]}})
}

/// Options of a server that is the testbed's user, asks its STS, and reads its S3 elsewhere.
pub(crate) fn with_s3_at(aws: &Aws, s3_endpoint: &str) -> ServerOptions {
    let key = aws.server_credentials();
    ServerOptions {
        args: vec![
            format!("--sts-endpoint={}", aws.endpoint()),
            format!("--s3-endpoint={s3_endpoint}"),
            format!("--aws-region={}", testbed::REGION),
        ],
        env: vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), key.id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), key.secret.expose_secret().to_owned()),
        ],
        database: None,
    }
}

/// A server without a cloud.
pub(crate) async fn server() -> Server {
    Server::start_with(None, ServerOptions::default()).await.unwrap()
}
