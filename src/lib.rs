//! The SlimIO operator: cloud-storage connectors and sensitive-data scans as Kubernetes resources.
//!
//! [`crd`] holds what users write, [`controller`] what is done about it, [`remote`] what is known of a Connectors API and
//! how it may be asked, [`telemetry`] how all of that is seen from outside.

mod chance;
mod clock;
pub mod controller;
pub mod crd;
mod duration;
pub mod remote;
pub mod telemetry;

/// The name under which the operator writes to Kubernetes.
pub const FIELD_MANAGER: &str = "slimio-operator";
