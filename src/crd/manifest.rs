//! The CRDs as they are installed: what the derive gives, with no nulls and with the default status that kstatus
//! needs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::{ClusterWorkspace, Connector, Scan, ScanSchedule, Workspace};

/// Every CRD of the group, in the order in which they are documented.
pub fn all() -> Vec<CustomResourceDefinition> {
    [Workspace::crd(), ClusterWorkspace::crd(), Connector::crd(), Scan::crd(), ScanSchedule::crd()]
        .map(finished)
        .into()
}

/// `slim.io_connectors.yaml` and the like: the name that generators of CRDs have agreed on.
pub fn file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

/// One CRD as a YAML document.
///
/// # Errors
/// When it cannot be written as YAML, which would be a mistake in its schema.
pub fn manifest(crd: &CustomResourceDefinition) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(crd)
}

fn finished(mut crd: CustomResourceDefinition) -> CustomResourceDefinition {
    for version in &mut crd.spec.versions {
        let Some(schema) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        tidy(schema);
        // kstatus calls an object without `observedGeneration` current, as if the operator had seen it. A default of -1
        // makes it say "in progress" from the first moment.
        if let Some(status) = schema.properties.as_mut().and_then(|properties| properties.get_mut("status")) {
            status.default = Some(JSON(json!({ "observedGeneration": -1 })));
        }
    }
    crd
}

/// Takes `nullable` away, so that the API server drops a field that is written as null: the rules could otherwise meet a
/// null where `has()` said that there is something. And takes away formats that Kubernetes does not know and warns of.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    schema.format = schema.format.take().filter(|format| !format.starts_with("uint"));
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(tidy);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => tidy(items),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => items.iter_mut().for_each(tidy),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}
