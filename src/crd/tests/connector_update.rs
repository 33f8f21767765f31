//! What may change about a Connector, and when: before its id is known everything, later what the API can follow, and the
//! rest where nothing is lost or the loss is consented to.

use k8s_openapi::jiff::Timestamp;

use super::fixture::{aws, azure, connector, existing, gcp, messages, secret};
use crate::crd::{
    Connector, ConnectorScope, ConnectorStatus, DeletionPolicy, ManagementPolicy, Origin, ReplacePolicy,
    ScanHistoryEntry, WorkspaceKind,
};

const REPLACE: &str = "the API cannot change a connector, and replacing this one would lose its scan history and findings: \
                       revert the change of provider, scope or displayName, or set spec.replacePolicy to Recreate or \
                       CreateFirst to consent to the loss";
const WORKSPACE: &str = "spec.workspaceRef cannot change while the connector exists at the API or is being created there: \
                         delete this object and make it anew in the other workspace";
const ID: &str =
    "spec.connectorId cannot change once a connector is known; it may be set to status.connectorId";

type Change = fn(&mut Connector);

/// Every change that only a replacement can bring, with the provider of the connector that it is made to.
fn changes() -> Vec<(&'static str, &'static str, Change)> {
    vec![
        ("displayName set", "aws", |it| it.spec.display_name = Some("another".to_owned())),
        ("scope set", "aws", |it| {
            it.spec.scope =
                Some(ConnectorScope { prefixes: vec!["a/".to_owned()], ..ConnectorScope::default() });
        }),
        ("roleArn", "aws", |it| {
            it.spec.aws.as_mut().unwrap().role_arn = "arn:aws:iam::123456789012:role/Other".to_owned();
        }),
        ("region", "aws", |it| it.spec.aws.as_mut().unwrap().region = "eu-west-2".to_owned()),
        ("externalId", "aws", |it| it.spec.aws.as_mut().unwrap().external_id = Some("another".to_owned())),
        ("projectId", "gcp", |it| it.spec.gcp.as_mut().unwrap().project_id = "acme-lake-43".to_owned()),
        ("serviceAccountEmail", "gcp", |it| {
            it.spec.gcp.as_mut().unwrap().service_account_email = "b@c.iam.gserviceaccount.com".to_owned();
        }),
        ("wifProvider", "gcp", |it| {
            it.spec.gcp.as_mut().unwrap().wif_provider =
                Some("projects/9/locations/global/workloadIdentityPools/a/providers/b".to_owned());
        }),
        ("tenantId", "azure", |it| {
            it.spec.azure.as_mut().unwrap().tenant_id = "00000000-0000-4000-8000-aabbccddeeff".to_owned();
        }),
        ("clientId", "azure", |it| {
            it.spec.azure.as_mut().unwrap().client_id = "00000000-0000-4000-8000-112233445566".to_owned();
        }),
        ("storageAccount", "azure", |it| {
            it.spec.azure.as_mut().unwrap().storage_account = "other".to_owned()
        }),
        ("another provider", "aws", |it| (it.spec.aws, it.spec.gcp) = (None, Some(gcp()))),
        ("another provider", "gcp", |it| (it.spec.gcp, it.spec.azure) = (None, Some(azure()))),
        ("another provider", "azure", |it| (it.spec.azure, it.spec.aws) = (None, Some(aws()))),
    ]
}

/// Every way in which the old connector would be missed.
fn losses() -> Vec<(&'static str, Change)> {
    vec![
        ("it was adopted", |it| it.status.as_mut().unwrap().origin = Some(Origin::Adopted)),
        ("its origin is not known", |it| it.status.as_mut().unwrap().origin = None),
        ("it is to be retained", |it| it.spec.deletion_policy = Some(DeletionPolicy::Retain)),
        ("it was scanned", |it| it.status.as_mut().unwrap().last_scan_time = Some(Timestamp::UNIX_EPOCH)),
        ("a scan of it was begun", |it| it.status.as_mut().unwrap().scanned = Some(true)),
        ("it has findings", |it| it.status.as_mut().unwrap().findings_count = Some(1)),
        ("it has a history", |it| {
            it.status.as_mut().unwrap().scan_history = vec![ScanHistoryEntry {
                scan_id: "scan-1".to_owned(),
                state: "running".to_owned(),
                start_time: None,
                completion_time: None,
                files_processed: None,
                findings_count: None,
            }];
        }),
    ]
}

fn update(old: &Connector, change: Change) -> Vec<String> {
    let mut new = old.clone();
    change(&mut new);
    messages(new.validate_cel_update(old))
}

#[test]
fn everything_may_change_before_the_connector_exists() {
    for (what, provider, change) in changes() {
        assert_eq!(update(&connector(provider), change), Vec::<String>::new(), "{what}");
        let untouched = Connector { status: Some(ConnectorStatus::default()), ..connector(provider) };
        assert_eq!(update(&untouched, change), Vec::<String>::new(), "{what}, with an empty status");
    }
    assert_eq!(
        update(&connector("aws"), |it| it.spec.workspace_ref.name = "other".to_owned()),
        Vec::<String>::new()
    );
    assert_eq!(
        update(&connector("aws"), |it| it.spec.connector_id = Some("conn-x".to_owned())),
        Vec::<String>::new()
    );
}

#[test]
fn a_correction_that_loses_nothing_asks_for_no_consent() {
    for (what, provider, change) in changes() {
        assert_eq!(update(&existing(provider), change), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn where_something_would_be_lost_each_change_is_refused_and_consent_lets_it_pass() {
    let with = |old: &Connector, change: Change, policy| {
        let mut new = old.clone();
        change(&mut new);
        new.spec.replace_policy = policy;
        messages(new.validate_cel_update(old))
    };
    let all = changes();
    let each_change = all.iter().map(|change| (*change, losses()[3]));
    let each_loss = losses().into_iter().map(|loss| (all[2], loss));
    for ((what, provider, change), (why, lose)) in each_change.chain(each_loss) {
        let mut old = existing(provider);
        lose(&mut old);
        assert_eq!(update(&old, change), [REPLACE], "{what}, where {why}");
        for consent in [ReplacePolicy::Recreate, ReplacePolicy::CreateFirst] {
            assert_eq!(with(&old, change, consent), Vec::<String>::new(), "{what}, where {why}");
        }
    }
}

#[test]
fn what_was_set_cannot_be_taken_away_either() {
    let mut old = existing("aws");
    old.spec.display_name = Some("Billing archive".to_owned());
    old.spec.scope = Some(ConnectorScope { buckets: vec!["lake".to_owned()], ..ConnectorScope::default() });
    old.status.as_mut().unwrap().scanned = Some(true);
    assert_eq!(update(&old, |it| it.spec.display_name = None), [REPLACE]);
    assert_eq!(update(&old, |it| it.spec.scope = None), [REPLACE]);
    assert_eq!(update(&old, |it| it.spec.scope.as_mut().unwrap().buckets.push("pond".to_owned())), [REPLACE]);
    assert_eq!(update(&old, |_| {}), Vec::<String>::new());
}

#[test]
fn what_is_only_observed_from_now_on_loses_nothing_and_may_say_less() {
    let mut old = existing("aws");
    old.status.as_mut().unwrap().scanned = Some(true);
    let observe: Change = |it| {
        it.spec.management_policy = ManagementPolicy::Observe;
        it.spec.connector_id = Some("conn-7h2k9q".to_owned());
        it.spec.aws = None;
    };
    assert_eq!(update(&old, observe), Vec::<String>::new());
    assert_eq!(
        update(&old, |it| it.spec.aws = None),
        [REPLACE, "set exactly one of spec.aws, spec.gcp and spec.azure"]
    );
    // What is observed is no connector of this object: another may be named, and managing it is an adoption.
    let mut observed = connector("none");
    observe(&mut observed);
    observed.status = Some(ConnectorStatus::default());
    assert_eq!(
        update(&observed, |it| it.spec.connector_id = Some("conn-other".to_owned())),
        Vec::<String>::new()
    );
    let manage: Change = |it| {
        it.spec.management_policy = ManagementPolicy::Manage;
        it.spec.aws = Some(aws());
    };
    assert_eq!(update(&observed, manage), Vec::<String>::new());
}

#[test]
fn what_the_api_need_not_know_may_change_at_any_time() {
    let free: [(&str, &str, Change); 9] = [
        ("deletionPolicy", "aws", |it| it.spec.deletion_policy = Some(DeletionPolicy::Retain)),
        ("replacePolicy", "aws", |it| it.spec.replace_policy = ReplacePolicy::Recreate),
        ("suspend", "aws", |it| it.spec.suspend = true),
        ("maxRiskScore", "aws", |it| it.spec.max_risk_score = Some(7)),
        ("connectionTest", "aws", |it| it.spec.connection_test = Some(Default::default())),
        ("the Secret's name", "azure", |it| {
            it.spec.azure.as_mut().unwrap().client_secret_ref.name = "other".to_owned();
        }),
        ("a value moved into a Secret", "aws", |it| {
            let aws = it.spec.aws.as_mut().unwrap();
            (aws.external_id, aws.external_id_secret_ref) = (None, Some(secret()));
        }),
        ("another value moved into a Secret", "gcp", |it| {
            let gcp = it.spec.gcp.as_mut().unwrap();
            (gcp.wif_provider, gcp.wif_provider_secret_ref) = (None, Some(secret()));
        }),
        ("the status", "aws", |it| it.status.as_mut().unwrap().risk_score = Some(3)),
    ];
    for (what, provider, change) in free {
        let mut old = existing(provider);
        old.status.as_mut().unwrap().scanned = Some(true);
        assert_eq!(update(&old, change), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn a_workspace_is_kept_for_as_long_as_the_connector_exists() {
    let old = existing("aws");
    assert_eq!(update(&old, |it| it.spec.workspace_ref.name = "other".to_owned()), [WORKSPACE]);
    assert_eq!(update(&old, |it| it.spec.workspace_ref.kind = WorkspaceKind::Workspace), [WORKSPACE]);
    let consented: Change = |it| {
        it.spec.workspace_ref.name = "other".to_owned();
        it.spec.replace_policy = ReplacePolicy::Recreate;
    };
    assert_eq!(update(&old, consented), [WORKSPACE], "consent to a replacement is no consent to a move");
}

#[test]
fn a_workspace_is_kept_while_a_create_is_under_way_and_is_free_again_when_it_ended_without_a_connector() {
    let mut begun = existing("aws");
    begun.status =
        Some(ConnectorStatus { claim: Some("0123456789abcdef".to_owned()), ..ConnectorStatus::default() });
    assert_eq!(update(&begun, |it| it.spec.workspace_ref.name = "other".to_owned()), [WORKSPACE]);
    assert_eq!(update(&begun, |it| it.spec.suspend = true), Vec::<String>::new());
    begun.status = Some(ConnectorStatus::default());
    assert_eq!(update(&begun, |it| it.spec.workspace_ref.name = "other".to_owned()), Vec::<String>::new());
}

#[test]
fn a_known_connector_keeps_its_id() {
    let old = existing("aws");
    assert_eq!(update(&old, |it| it.spec.connector_id = Some("conn-other".to_owned())), [ID]);
    assert_eq!(
        update(&old, |it| it.spec.connector_id = Some("conn-7h2k9q".to_owned())),
        Vec::<String>::new()
    );
    let mut named = existing("aws");
    named.spec.connector_id = Some("conn-7h2k9q".to_owned());
    assert_eq!(update(&named, |it| it.spec.connector_id = None), [ID]);
    assert_eq!(update(&named, |it| it.spec.suspend = true), Vec::<String>::new());
}

#[test]
fn a_deletion_and_its_finalizer_pass_every_rule() {
    let mut old = existing("aws");
    old.status.as_mut().unwrap().scanned = Some(true);
    old.metadata.finalizers = Some(vec![crate::crd::FINALIZER.to_owned()]);
    assert_eq!(update(&old, |it| it.metadata.finalizers = None), Vec::<String>::new());
    // Also on an object that an older schema let through.
    let mut malformed = old;
    malformed.spec.gcp = Some(gcp());
    let root = update(&malformed, |it| it.metadata.finalizers = None);
    assert!(!root.contains(&REPLACE.to_owned()), "{root:?}");
}
