//! Who in the cluster has an id, or is about to: read page by page from the API server when an id is about to be taken, and
//! kept no longer than that. Objects are read as they are, so that a malformed one still counts.

use connectors_api::wire::ConnectorId;
use kube::api::{DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::{Api, Resource, ResourceExt};

use super::observed::Survey;
use crate::controller::{Context, Error};
use crate::crd::{ClusterWorkspace, Connector, Workspace};

/// Objects a request.
const PAGE: u32 = 500;

/// Looks who else has `id`, whose connector is called `name` at the API, or is about to have it.
///
/// Claims are read before connectors: a create whose claim is closed by then has put its id down.
///
/// # Errors
/// When the API server does not answer.
pub(super) async fn survey(
    mine: &Connector,
    id: &ConnectorId,
    name: &str,
    ctx: &Context,
) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let uid = mine.uid().unwrap_or_default();
    let mut creates = |workspace: &DynamicObject| {
        let claims = workspace.data["status"]["claims"].as_array();
        let named = claims.into_iter().flatten().find(|claim| {
            claim["kind"] == "Connector" && claim["subject"] == name && claim["uid"] != uid.as_str()
        });
        if let Some(claim) = named {
            let part = |field: &str| claim[field].as_str().unwrap_or_default();
            survey.creating = Some(format!("{}/{}", part("namespace"), part("name")));
        }
    };
    let scopes = ctx.settings.scopes();
    for scope in &scopes {
        each::<Workspace>(scope.as_deref(), ctx, &mut creates).await?;
    }
    if ctx.settings.namespaces.is_none() {
        each::<ClusterWorkspace>(None, ctx, &mut creates).await?;
    }
    for scope in &scopes {
        each::<Connector>(scope.as_deref(), ctx, |other| note(&mut survey, mine, other, id.as_str())).await?;
    }
    Ok(survey)
}

/// Puts down what one Connector has to do with the id.
fn note(survey: &mut Survey, mine: &Connector, other: &DynamicObject, id: &str) {
    if other.uid() == mine.uid() {
        return;
    }
    let status = &other.data["status"];
    let title = || format!("{}/{}", other.namespace().unwrap_or_default(), other.name_any());
    let replacement = &status["replacement"];
    if status["connectorId"] == id || replacement["oldId"] == id || replacement["newId"] == id {
        survey.holder = Some(title());
    }
    // An object that is being deleted takes nothing any more, and every write knows of its deletion.
    if status["adopting"] == id && other.metadata.deletion_timestamp.is_none() {
        let age = |meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta| {
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.uid.clone())
        };
        let found =
            if age(&other.metadata) < age(&mine.metadata) { &mut survey.older } else { &mut survey.younger };
        *found = Some(title());
    }
}

/// Every object of a kind, as the API server has it now.
async fn each<K: Resource<DynamicType = ()>>(
    namespace: Option<&str>,
    ctx: &Context,
    mut take: impl FnMut(&DynamicObject),
) -> Result<(), Error> {
    let kind = ApiResource::erase::<K>(&());
    let api = match namespace {
        Some(namespace) => Api::<DynamicObject>::namespaced_with(ctx.client.clone(), namespace, &kind),
        None => Api::<DynamicObject>::all_with(ctx.client.clone(), &kind),
    };
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await.map_err(Error::kubernetes("look who else has a connector"))?;
        page.items.iter().for_each(&mut take);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object<T: serde::de::DeserializeOwned>(name: &str, created: &str, status: serde_json::Value) -> T {
        serde_json::from_value(json!({
            "apiVersion": "slim.io/v1alpha1", "kind": "Connector",
            "metadata": {"namespace": "team", "name": name, "uid": format!("uid-{name}"), "creationTimestamp": created},
            "spec": {}, "status": status,
        }))
        .unwrap()
    }

    fn seen(other: &DynamicObject) -> Survey {
        let mut survey = Survey::default();
        let mine = object::<Connector>("mine", "2026-01-02T00:00:00Z", json!({"adopting": "conn-1"}));
        note(&mut survey, &mine, other, "conn-1");
        survey
    }

    #[test]
    fn whoever_has_the_id_or_one_half_of_a_replacement_holds_it() {
        for status in [
            json!({"connectorId": "conn-1"}),
            json!({"connectorId": "conn-2", "replacement": {"oldId": "conn-1", "phase": "Creating"}}),
            json!({"replacement": {"oldId": "conn-2", "newId": "conn-1", "phase": "Unheard", "odd": [1]}}),
        ] {
            let survey = seen(&object("theirs", "2026-01-01T00:00:00Z", status));
            assert_eq!(survey, Survey { holder: Some("team/theirs".to_owned()), ..Survey::default() });
        }
        for status in [json!({}), json!({"connectorId": "conn-11"}), json!(null), json!({"connectorId": 7})] {
            assert_eq!(seen(&object("theirs", "2026-01-01T00:00:00Z", status)), Survey::default());
        }
        assert_eq!(
            seen(&object("mine", "2026-01-01T00:00:00Z", json!({"connectorId": "conn-1"}))),
            Survey::default(),
            "oneself is nobody else"
        );
    }

    #[test]
    fn of_two_that_want_it_one_is_older_and_of_the_same_second_one_still_is() {
        let wants = json!({"adopting": "conn-1"});
        let older = seen(&object("theirs", "2026-01-01T00:00:00Z", wants.clone()));
        assert_eq!(older.older.as_deref(), Some("team/theirs"));
        let younger = seen(&object("theirs", "2026-01-03T00:00:00Z", wants.clone()));
        assert_eq!(younger.younger.as_deref(), Some("team/theirs"));
        assert!(seen(&object("a", "2026-01-02T00:00:00Z", wants.clone())).older.is_some());
        assert!(seen(&object("z", "2026-01-02T00:00:00Z", wants)).younger.is_some());
    }

    #[test]
    fn one_that_is_being_deleted_takes_nothing_any_more_but_has_what_it_has() {
        let mut going: DynamicObject =
            object("theirs", "2026-01-01T00:00:00Z", json!({"adopting": "conn-1"}));
        going.metadata.deletion_timestamp = going.metadata.creation_timestamp.clone();
        assert_eq!(seen(&going), Survey::default());
        going.data["status"] = json!({"connectorId": "conn-1"});
        assert!(seen(&going).holder.is_some());
    }
}
