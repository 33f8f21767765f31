//! Everything that goes over the wire: types that the server writes and the client reads.
//!
//! Writing is strict: whole-second UTC times, documented spellings, documented keys. Reading is
//! tolerant, because the public pages leave much open: a word outside an enumeration stays readable,
//! `null`, an absent key, `""` and `0` all stand for an empty thing, unknown keys are ignored. Of a
//! thing that has an id only the id must be there.

mod config;
mod config_match;
mod connector;
mod envelope;
mod error_body;
mod ids;
mod scan;
mod tolerant;
mod words;

pub use config::{AwsConfig, AzureConfig, ConnectorConfig, CreateConnector, GcpConfig, Scope};
pub use config_match::{ConfigMatch, SECRET_KEYS, readable_config_matches, without_secrets};
pub use connector::{
    ConnectorCreated, ConnectorDeleted, ConnectorDetail, ConnectorItem, CreateConnectorRequest,
    ScanHistoryEntry, TestOutcome,
};
pub use envelope::{Envelope, EnvelopeStatus, Metadata, Pagination};
pub use error_body::{CONNECTOR_NOT_FOUND, ErrorEnvelope, ErrorObject, ErrorReport, RATE_LIMIT_EXCEEDED};
pub use ids::{ConnectorId, Cursor, IdError, MAX_CURSOR_LENGTH, MAX_ID_LENGTH, RequestId, ScanId};
pub use scan::{
    ParallelScanStarted, ScanCoverage, ScanOptions, ScanProgress, ScanRead, ScanStarted, ScanWorkers,
    StartParallelScan, StartScan,
};
pub use words::{ConnectorState, Provider, ScanState, ScanType};
