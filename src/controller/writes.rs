//! How the operator's writes to Kubernetes are signed: with one name, by which `managedFields` tells them apart.

use kube::api::{PatchParams, PostParams};

/// For creates and guarded replacements.
pub(crate) fn post() -> PostParams {
    PostParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// For merge patches.
pub(crate) fn patch() -> PatchParams {
    PatchParams { field_manager: Some(crate::FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}
