//! What the tests of the plan begin with.

use std::time::Duration;

use connectors_api::wire::{Scope, TestOutcome};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

use crate::controller::conditions::find;
use crate::controller::connector::backup::Sealer;
use crate::controller::connector::desired::{Desired, Source, Text, sent_digest};
use crate::controller::connector::observed::{Object, Request, WorkspaceView};
use crate::crd::{ConnectorStatus, ReplacePolicy, SecretKeyRef, WorkspaceKey, WorkspaceKind};

/// So many seconds after the beginning of every story.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_800_000_000 + second)
}

pub(super) fn object() -> Object {
    Object {
        namespace: "team".to_owned(),
        name: "lake".to_owned(),
        uid: "uid-1".to_owned(),
        generation: 1,
        ..Object::default()
    }
}

pub(super) fn desired() -> Desired {
    Desired {
        workspace: WorkspaceKey {
            kind: WorkspaceKind::ClusterWorkspace,
            namespace: None,
            name: "default".to_owned(),
        },
        name: "team.lake".to_owned(),
        named: false,
        source: Source::Aws {
            role_arn: "arn:aws:iam::123456789012:role/Scanner".to_owned(),
            external_id: Text::Secret(SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() }),
            region: "eu-west-1".to_owned(),
        },
        scope: Scope { buckets: vec!["lake".to_owned()], ..Scope::default() },
        deletion: None,
        replace: ReplacePolicy::Never,
        connector_id: None,
        adopt_matching: false,
        test_interval_seconds: None,
        max_risk_score: None,
        suspend: false,
    }
}

/// Another role in the same spec: something that the API would have to be told.
pub(super) fn other_role(desired: &mut Desired) {
    if let Source::Aws { role_arn, .. } = &mut desired.source {
        *role_arn = "arn:aws:iam::123456789012:role/Corrected".to_owned();
    }
}

pub(super) fn workspace() -> WorkspaceView {
    WorkspaceView {
        secret: "Secret team/api-key (key apiKey)".to_owned(),
        title: "ClusterWorkspace default".to_owned(),
        identity: "identity-1".to_owned(),
        former: Vec::new(),
        retired: Vec::new(),
        changed: false,
        closed: None,
        refused: None,
        trouble: None,
        allows_adoption: true,
        sealer: Sealer::new("credential-1"),
    }
}

/// What would be sent for `desired`, put together as `observe` does it.
pub(super) fn request(desired: &Desired, secret: &str) -> Request {
    let secret = SecretString::from(secret.to_owned());
    let create = desired.request(desired.name.clone(), Some(&secret)).unwrap();
    Request {
        readable: desired.readable_config(&create),
        sent: sent_digest("team/lake", desired, &create),
        create,
    }
}

pub(super) fn connected() -> TestOutcome {
    TestOutcome {
        connected: true,
        buckets_accessible: vec!["lake".to_owned()],
        sample_objects: 7,
        latency_ms: 12,
        cause: None,
        message: None,
    }
}

pub(super) fn not_connected() -> TestOutcome {
    TestOutcome {
        connected: false,
        buckets_accessible: Vec::new(),
        cause: Some("assume_role_denied".to_owned()),
        message: Some("the role does not trust this account".to_owned()),
        ..connected()
    }
}

/// Status, reason and message of a condition.
pub(super) fn said<'a>(status: &'a ConnectorStatus, kind: &str) -> (&'a str, &'a str, &'a str) {
    find(&status.conditions, kind).map_or(("", "", ""), |condition| {
        (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
    })
}

pub(super) fn seconds(n: u64) -> Option<Duration> {
    Some(Duration::from_secs(n))
}
