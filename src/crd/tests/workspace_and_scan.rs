//! What workspaces and Scans may say, and what about them may change.

use super::fixture::{messages, secret};
use crate::crd::{
    ApiAccess, ApiKeyAuth, Auth, ClusterWorkspace, ClusterWorkspaceSpec, ConnectorRef, RateLimits, Scan,
    ScanOptions, ScanSpec, ScanType, Workspace, WorkspaceSpec,
};

fn access() -> ApiAccess {
    ApiAccess {
        endpoint: "https://api.slim.io".to_owned(),
        auth: Auth { api_key: ApiKeyAuth { secret_ref: secret() } },
        ca_bundle: None,
        rate_limits: RateLimits::default(),
        poll_interval: "1m".to_owned(),
        name_suffix: None,
    }
}

fn workspace(api: ApiAccess) -> Workspace {
    Workspace::new("lab", WorkspaceSpec { api })
}

fn cluster_workspace(api: ApiAccess) -> ClusterWorkspace {
    ClusterWorkspace::new(
        "lab",
        ClusterWorkspaceSpec { api, allowed_namespaces: None, allow_adoption: false },
    )
}

/// What the rules of both kinds say, which is the same.
fn said(api: &ApiAccess) -> Vec<String> {
    let of_one = messages(workspace(api.clone()).validate_cel());
    assert_eq!(of_one, messages(cluster_workspace(api.clone()).validate_cel()));
    of_one
}

#[test]
fn an_endpoint_is_an_address_and_nothing_more() {
    for good in [
        "https://api.slim.io",
        "https://api.slim.io/api/v1/",
        "http://connectors-server.slimio-system.svc:8080",
        "http://[::1]:8080",
    ] {
        assert_eq!(
            said(&ApiAccess { endpoint: good.to_owned(), ..access() }),
            Vec::<String>::new(),
            "{good}"
        );
    }
    for bad in [
        "api.slim.io",
        "ftp://api.slim.io",
        "https://user:secret@api.slim.io",
        "https://api.slim.io?key=1",
        "https://api.slim.io/#x",
        "https://api.slim.io/a b",
        "https://",
        "HTTPS://api.slim.io\n",
    ] {
        let message = "endpoint must be an http or https address without user, query or fragment, such as https://api.slim.io";
        assert_eq!(said(&ApiAccess { endpoint: bad.to_owned(), ..access() }), [message], "{bad}");
    }
}

#[test]
fn a_poll_is_between_a_second_and_a_day_apart() {
    for good in ["1s", "90s", "1m", "24h", "1000ms", "1h30m"] {
        assert_eq!(
            said(&ApiAccess { poll_interval: good.to_owned(), ..access() }),
            Vec::<String>::new(),
            "{good}"
        );
    }
    for bad in ["999ms", "0s", "24h1s", "1d", "60", "", "often"] {
        let message = "pollInterval must be a duration between 1s and 24h, such as 1m or 90s";
        assert_eq!(said(&ApiAccess { poll_interval: bad.to_owned(), ..access() }), [message], "{bad}");
    }
}

#[test]
fn a_name_suffix_never_changes() {
    let message =
        "nameSuffix cannot change: connectors are recognised by it at the API; make a new workspace instead";
    let with = |suffix: Option<&str>| ApiAccess { name_suffix: suffix.map(str::to_owned), ..access() };
    for (old, new, refused) in [
        (None, None, false),
        (Some("-a"), Some("-a"), false),
        (None, Some("-a"), true),
        (Some("-a"), None, true),
        (Some("-a"), Some("-b"), true),
    ] {
        let expected = if refused { vec![message.to_owned()] } else { Vec::new() };
        let namespaced = workspace(with(new)).validate_cel_update(&workspace(with(old)));
        assert_eq!(messages(namespaced), expected, "{old:?} {new:?}");
        let cluster = cluster_workspace(with(new)).validate_cel_update(&cluster_workspace(with(old)));
        assert_eq!(messages(cluster), expected, "{old:?} {new:?}");
    }
    let other_key = ApiAccess { endpoint: "https://other.example".to_owned(), ..with(Some("-a")) };
    assert_eq!(
        messages(workspace(other_key).validate_cel_update(&workspace(with(Some("-a"))))),
        Vec::<String>::new()
    );
}

fn scan() -> Scan {
    Scan::new(
        "look",
        ScanSpec {
            connector_ref: ConnectorRef { name: "lake".to_owned() },
            scan_type: ScanType::Full,
            options: Some(ScanOptions {
                prefixes: vec!["invoices/".to_owned()],
                file_types: vec!["csv".to_owned()],
                ..ScanOptions::default()
            }),
            starting_deadline_seconds: None,
            active_deadline_seconds: None,
            ttl_seconds_after_finished: None,
        },
    )
}

#[test]
fn a_scans_options_are_checked_as_a_scope_is() {
    assert_eq!(messages(scan().validate_cel()), Vec::<String>::new());
    for bad in ["invoices", "/invoices/"] {
        let mut scan = scan();
        scan.spec.options.as_mut().unwrap().prefixes.push(bad.to_owned());
        let message = "each of options.prefixes must end in / and not begin with it, such as invoices/";
        assert_eq!(messages(scan.validate_cel()), [message], "{bad}");
    }
    for bad in [".csv", "tar.gz"] {
        let mut scan = scan();
        scan.spec.options.as_mut().unwrap().file_types.push(bad.to_owned());
        let message = "each of options.fileTypes must be an extension without its dot, such as csv";
        assert_eq!(messages(scan.validate_cel()), [message], "{bad}");
    }
}

#[test]
fn a_scan_never_changes() {
    type Change = fn(&mut Scan);
    let changes: [(&str, Change); 6] = [
        ("connectorRef", |it| it.spec.connector_ref.name = "pond".to_owned()),
        ("type", |it| it.spec.scan_type = ScanType::Incremental),
        ("options", |it| it.spec.options = None),
        ("maxFiles", |it| it.spec.options.as_mut().unwrap().max_files = Some(1)),
        ("activeDeadlineSeconds", |it| it.spec.active_deadline_seconds = Some(1)),
        ("ttlSecondsAfterFinished", |it| it.spec.ttl_seconds_after_finished = Some(1)),
    ];
    for (what, change) in changes {
        let mut new = scan();
        change(&mut new);
        let message = "a Scan cannot be changed: it runs once; make a new one";
        assert_eq!(messages(new.validate_cel_update(&scan())), [message], "{what}");
    }
    let mut annotated = scan();
    annotated.metadata.labels = Some([("a".to_owned(), "b".to_owned())].into());
    annotated.status =
        Some(crate::crd::ScanStatus { scan_id: Some("scan-1".to_owned()), ..Default::default() });
    assert_eq!(messages(annotated.validate_cel_update(&scan())), Vec::<String>::new());
}
