//! One log line for each effect: on which object, in which generation, what, and under which id the API knows the request.

use connectors_api::client::with_request_id;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::ObjectMeta;

use super::conditions::{READY, find};

/// An object, as the lines about it name it.
pub(super) struct Subject {
    kind: &'static str,
    namespace: Option<String>,
    name: Option<String>,
    generation: Option<i64>,
}

impl Subject {
    /// The object with this metadata.
    pub(super) fn new(kind: &'static str, meta: &ObjectMeta) -> Self {
        Self { kind, namespace: meta.namespace.clone(), name: meta.name.clone(), generation: meta.generation }
    }

    /// Carries out an effect, which gives its outcome and what is worth saying about it. One that only `reads` is a matter for
    /// whoever looks closely; one that failed is said where that is handled.
    pub(super) async fn log<T, E>(
        &self,
        effect: &'static str,
        reads: bool,
        work: impl Future<Output = Result<(T, Option<String>), E>>,
    ) -> Result<T, E> {
        let (done, request_id) = with_request_id(work).await;
        let (value, said) = done?;
        let Self { kind, namespace, name, generation } = self;
        let request_id = request_id.as_ref().map(|id| id.as_str());
        let said = said.as_deref().unwrap_or(effect);
        if reads {
            tracing::debug!(kind, namespace, name, generation, effect, request_id, "{said}");
        } else {
            tracing::info!(kind, namespace, name, generation, effect, request_id, "{said}");
        }
        Ok(value)
    }
}

/// How `Ready` turned, if it did.
pub(super) fn turned<'a>(old: &[Condition], new: &'a [Condition]) -> Option<&'a Condition> {
    let (old, new) = (find(old, READY), find(new, READY)?);
    old.is_none_or(|old| old.status != new.status || old.reason != new.reason).then_some(new)
}

/// What a line says of it.
pub(super) fn words(ready: &Condition) -> String {
    format!("Ready={} {}: {}", ready.status, ready.reason, ready.message)
}
