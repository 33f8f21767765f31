//! S3, STS and IAM on one port (moto), with authentication and IAM policies really enforced.
//!
//! Refused, as by AWS: unknown keys, wrong signatures and session tokens, actions that no policy allows, an external id
//! that differs from the one a trust policy names. **Accepted, unlike AWS**: an AssumeRole without any external id, and
//! one of a role that does not exist. A test of those two needs a double of its own.

mod signed;

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::process::{Process, Spec};
use crate::rundir::PartDir;
use crate::wait::{self, until_serving};
use crate::{Error, Parts, Result, port};
use signed::{Call, Signer, encode};

/// moto's one account.
const ACCOUNT: &str = "123456789012";
/// The region everything is in.
pub const REGION: &str = "us-east-1";
/// The role of every scan, unless a test makes another.
const SCANNER_ROLE: &str = "SlimIOScanner";
/// What the scanner role's trust policy demands.
const EXTERNAL_ID: &str = "slimio-demo-external-id";
/// The user that a server under test is.
const SERVER_USER: &str = "connectors-server";
/// Calls that are answered before authentication begins: those of [`Aws::bootstrap`], to the call.
const CALLS_BEFORE_AUTHENTICATION: usize = 3;
/// Python has to load first; a cold disk takes seconds.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Uploads under way at once. moto is one process that Python's lock serialises.
const UPLOADS: usize = 4;

/// Long-lived keys of a user.
#[derive(Clone, Debug)]
pub struct AccessKey {
    /// `AKIA…`.
    pub id: String,
    /// The secret half.
    pub secret: SecretString,
}

/// A running S3, STS and IAM.
#[derive(Debug)]
pub struct Aws {
    process: Process,
    endpoint: String,
    client: reqwest::Client,
    admin: Signer,
    server: AccessKey,
    _dir: PartDir,
}

impl Aws {
    /// Starts it, with an administrator, the server's user and the scanner role.
    ///
    /// # Errors
    /// Those of [`Parts::prepare`], and [`Error::Start`] with the end of its log.
    pub async fn start() -> Result<Self> {
        let parts = Parts::prepared().await?;
        port::retry(async || Self::try_start(&parts).await).await
    }

    async fn try_start(parts: &Parts) -> Result<Self> {
        let dir = PartDir::new("aws")?;
        let port = port::free()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let process = Spec::new("moto", &parts.python, dir.file("moto.log"))
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("INITIAL_NO_AUTH_ACTION_COUNT", CALLS_BEFORE_AUTHENTICATION.to_string())
            .env("PYTHONUNBUFFERED", "1")
            .env("TMPDIR", dir.data())
            .without_env(["AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
            .scrub_if_orphaned(dir.data())
            .spawn()?;
        let client = wait::client()?;
        let ready = format!("{endpoint}/moto-api/data.json");
        until_serving(&process, "its port", START_LIMIT, async || wait::answers(&client, &ready).await)
            .await?;
        let admin = Self::bootstrap(&client, &endpoint).await?;
        let unset = AccessKey { id: String::new(), secret: SecretString::default() };
        let mut aws = Self { process, endpoint, client, admin, server: unset, _dir: dir };
        aws.create_user(SERVER_USER).await?;
        aws.allow_user(SERVER_USER, "sts:AssumeRole", "*").await?;
        aws.server = aws.create_access_key(SERVER_USER).await?;
        let actions = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"];
        aws.create_role(SCANNER_ROLE, EXTERNAL_ID, &actions, &["arn:aws:s3:::*"]).await?;
        Ok(aws)
    }

    /// Makes the administrator. Its calls are the ones that need no key; from the next on, everyone needs one.
    async fn bootstrap(client: &reqwest::Client, endpoint: &str) -> Result<Signer> {
        let anybody = Signer::new(&AccessKey { id: "anybody".to_owned(), secret: "anything".into() }, REGION);
        let call = async |form: &[(&str, &str)]| anybody.send(client, &Call::iam(endpoint, form)).await;
        call(&[("Action", "CreateUser"), ("UserName", "testbed-admin")]).await?;
        let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        let policy = policy.to_string();
        let put = [("UserName", "testbed-admin"), ("PolicyName", "all"), ("PolicyDocument", policy.as_str())];
        call(&[&[("Action", "PutUserPolicy")], &put[..]].concat()).await?;
        let key = call(&[("Action", "CreateAccessKey"), ("UserName", "testbed-admin")]).await?;
        Ok(Signer::new(&access_key(&key)?, REGION))
    }

    /// The address of S3, STS and IAM alike.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The keys of the user that a server under test is: it may assume roles and nothing else.
    #[must_use]
    pub fn server_credentials(&self) -> &AccessKey {
        &self.server
    }

    /// The role of the scans: it may list and read every bucket.
    #[must_use]
    pub fn role_arn(&self) -> String {
        role_arn(SCANNER_ROLE)
    }

    /// The external id that the role's trust policy demands.
    #[must_use]
    pub fn external_id(&self) -> &str {
        EXTERNAL_ID
    }

    /// The process, for its log.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Makes a bucket.
    ///
    /// # Errors
    /// [`Error::Refused`] with the answer.
    pub async fn create_bucket(&self, name: &str) -> Result<()> {
        self.s3("PUT", &format!("/{name}"), Vec::new()).await.map(drop)
    }

    /// Stores one object.
    ///
    /// # Errors
    /// [`Error::Refused`] with the answer.
    pub async fn put_object(&self, bucket: &str, key: &str, body: impl Into<Vec<u8>>) -> Result<()> {
        self.s3("PUT", &object_path(bucket, key), body.into()).await.map(drop)
    }

    /// Stores many objects, some at a time.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first refusal.
    pub async fn put_objects(
        &self,
        bucket: &str,
        objects: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> Result<()> {
        futures::stream::iter(
            objects.into_iter().map(|(key, body)| async move { self.put_object(bucket, &key, body).await }),
        )
        .buffer_unordered(UPLOADS)
        .try_collect()
        .await
    }

    /// Removes one object.
    ///
    /// # Errors
    /// [`Error::Refused`] with the answer.
    pub async fn delete_object(&self, bucket: &str, key: &str) -> Result<()> {
        self.s3("DELETE", &object_path(bucket, key), Vec::new()).await.map(drop)
    }

    /// Makes a role that the server's user may assume with this external id, and that may do these actions to these
    /// resources. Returns its ARN.
    ///
    /// # Errors
    /// [`Error::Refused`] with the answer.
    pub async fn create_role(
        &self,
        name: &str,
        external_id: &str,
        actions: &[&str],
        resources: &[&str],
    ) -> Result<String> {
        let trust = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow",
            "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:user/{SERVER_USER}")},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": external_id}},
        }]});
        let create = [("RoleName", name), ("AssumeRolePolicyDocument", &trust.to_string())];
        self.iam("CreateRole", &create).await?;
        let allow = policy(&json!(actions), &json!(resources));
        let put = [("RoleName", name), ("PolicyName", "allowed"), ("PolicyDocument", &allow)];
        self.iam("PutRolePolicy", &put).await?;
        Ok(role_arn(name))
    }

    /// Makes keys for a user that exists.
    ///
    /// # Errors
    /// [`Error::Refused`] with the answer.
    pub async fn create_access_key(&self, user: &str) -> Result<AccessKey> {
        access_key(&self.iam("CreateAccessKey", &[("UserName", user)]).await?)
    }

    /// Asks STS for a session as the holder of `key`, as a server would.
    ///
    /// # Errors
    /// [`Error::Refused`] with STS' answer.
    pub async fn assume_role(
        &self,
        key: &AccessKey,
        role_arn: &str,
        external_id: Option<&str>,
    ) -> Result<String> {
        let mut form = vec![("Action", "AssumeRole"), ("RoleArn", role_arn), ("RoleSessionName", "testbed")];
        form.extend(external_id.map(|id| ("ExternalId", id)));
        let call = Call::form(&self.endpoint, "sts", "2011-06-15", &form);
        Signer::new(key, REGION).send(&self.client, &call).await
    }

    async fn create_user(&self, name: &str) -> Result<()> {
        self.iam("CreateUser", &[("UserName", name)]).await.map(drop)
    }

    async fn allow_user(&self, name: &str, action: &str, resource: &str) -> Result<()> {
        let policy = policy(&json!(action), &json!(resource));
        let put = [("UserName", name), ("PolicyName", "allowed"), ("PolicyDocument", policy.as_str())];
        self.iam("PutUserPolicy", &put).await.map(drop)
    }

    async fn iam(&self, action: &str, form: &[(&str, &str)]) -> Result<String> {
        let form = [&[("Action", action)], form].concat();
        self.admin.send(&self.client, &Call::iam(&self.endpoint, &form)).await
    }

    async fn s3(&self, method: &'static str, path: &str, body: Vec<u8>) -> Result<String> {
        self.admin.send(&self.client, &Call::s3(&self.endpoint, method, path, body)).await
    }
}

fn role_arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:role/{name}")
}

fn policy(actions: &Value, resources: &Value) -> String {
    json!({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": actions, "Resource": resources}})
        .to_string()
}

/// `/bucket/key`, percent-encoded but for the slashes.
fn object_path(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", encode(key).replace("%2F", "/"))
}

/// The keys in the XML of a `CreateAccessKey` answer.
fn access_key(xml: &str) -> Result<AccessKey> {
    let element = |name: &str| {
        let (_, rest) = xml.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(text, _)| text.to_owned())
    };
    match (element("AccessKeyId"), element("SecretAccessKey")) {
        (Some(id), Some(secret)) => Ok(AccessKey { id, secret: secret.into() }),
        _ => Err(Error::Bug("CreateAccessKey answered no key".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_spaces_and_letters_of_other_alphabets_are_encoded_once() {
        assert_eq!(object_path("b", "a b/ü+.csv"), "/b/a%20b/%C3%BC%2B.csv");
    }

    #[test]
    fn the_secret_of_a_key_is_read_and_never_printed() {
        let xml = "<AccessKeyId>AKIA1</AccessKeyId><SecretAccessKey>s3cret</SecretAccessKey>";
        let key = access_key(xml).unwrap();
        assert_eq!(key.id, "AKIA1");
        assert!(!format!("{key:?}").contains("s3cret"));
        assert!(access_key("<Error/>").is_err());
    }
}
