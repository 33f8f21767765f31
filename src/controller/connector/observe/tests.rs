//! What is said of a workspace that cannot be used.

use std::convert::Infallible;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

use super::*;
use crate::controller::control::tests::context;
use crate::crd::{Workspace, WorkspaceKind};

/// What is said of the workspace of a connector, whose Secret is gone, when Kubernetes has this to say of the namespace.
async fn said(deleting: bool, code: u16, namespace: Value) -> Result<String, Error> {
    let answer = tower::service_fn(move |request: Request<Body>| {
        assert_eq!(request.uri().path(), "/api/v1/namespaces/team");
        let body = Body::from(namespace.to_string().into_bytes());
        std::future::ready(Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap()))
    });
    let ctx = context(Client::new(answer, "default"));
    let object = Object { namespace: "team".to_owned(), deleting, ..Object::default() };
    let workspace: Workspace =
        serde_json::from_value(json!({ "apiVersion": "slim.io/v1alpha1", "kind": "Workspace",
        "metadata": { "namespace": "team", "name": "lab", "uid": "w" },
        "spec": { "auth": { "apiKey": { "secretRef": { "name": "key", "key": "api-key" } } } } }))
        .unwrap();
    let workspace = AnyWorkspace::from(workspace);
    let key = WorkspaceKey {
        kind: WorkspaceKind::Workspace,
        namespace: Some("team".to_owned()),
        name: "lab".to_owned(),
    };
    let gone =
        Blocked::new(Reason::SecretNotFound, "Secret team/key is not there: create it with the key api-key");
    let entry = Entry { blocked: Some(gone), ..Entry::blank(&workspace) };
    let (view, _) = usable(&object, &key, Some(&workspace), Some(&entry), &ctx).await?;
    let blocked = view.unwrap_err();
    assert_eq!(blocked.reason, Reason::SecretNotFound);
    Ok(blocked.message)
}

fn namespace(metadata: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata })
}

#[tokio::test]
async fn nobody_is_told_to_put_a_secret_back_into_a_namespace_that_is_being_deleted() {
    let going = namespace(&json!({ "name": "team", "deletionTimestamp": "2027-01-15T08:00:00Z" }));
    let message = said(true, 200, going.clone()).await.unwrap();
    assert_eq!(
        message,
        "Workspace team/lab cannot be used: Secret team/key (key api-key) is gone with its namespace, which is being deleted"
    );
    let alive = said(false, 200, going).await.unwrap();
    assert!(alive.ends_with("create it with the key api-key"), "nothing is deleted here: {alive}");
}

#[tokio::test]
async fn where_the_namespace_stays_or_nobody_may_look_the_secret_is_asked_for() {
    let stays = namespace(&json!({ "name": "team" }));
    let refused = |code: u16, reason: &str| json!({ "apiVersion": "v1", "kind": "Status", "status": "Failure", "message": "no", "reason": reason, "code": code });
    for (code, answer) in [(200, stays), (404, refused(404, "NotFound")), (403, refused(403, "Forbidden"))] {
        let message = said(true, code, answer).await.unwrap();
        assert!(message.ends_with("create it with the key api-key"), "{code}: {message}");
    }
    assert!(said(true, 500, refused(500, "InternalError")).await.is_err(), "the pass is begun anew");
}
