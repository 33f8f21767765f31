//! Who calls: the workspace and role of an API key. A handler cannot reach the database without it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::envelope::RequestNotes;
use super::error::ApiError;
use crate::store::{Caller, Role, WorkspaceScope};

/// Longest key that is looked up.
const KEY_MAX: usize = 256;

impl FromRequestParts<Arc<Api>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, ApiError> {
        let key = bearer(parts).ok_or_else(|| {
            ApiError::unauthorized("send an API key in the header Authorization: Bearer sk_live_...")
        })?;
        let caller = api.store.authenticate(key).await?;
        let caller =
            caller.ok_or_else(|| ApiError::unauthorized("this API key is not known here, or was revoked"))?;
        if let Some(notes) = parts.extensions.get::<Arc<RequestNotes>>() {
            // Set once: there is one caller.
            let _ = notes.workspace.set(caller.scope.workspace_id().to_owned());
        }
        Ok(caller)
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    let (scheme, key) = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() && key.len() <= KEY_MAX).then_some(key)
}

impl Caller {
    /// The caller's part of the database, if its role is high enough for what it is about to do.
    pub(super) fn at_least(self, role: Role, action: &str) -> Result<WorkspaceScope, ApiError> {
        if self.role >= role {
            return Ok(self.scope);
        }
        Err(ApiError::forbidden(format!(
            "the role of this API key, {}, may not {action}; it takes {} or higher",
            self.role.as_str(),
            role.as_str()
        )))
    }
}
