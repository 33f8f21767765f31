//! Every route of the contract, in one place: its verb, its path, and what it may change.
//!
//! The server mounts [`Route::template`], the client fills it in, so both mean the same thing.

use std::fmt;

/// Where version 1 of the API begins (`docs.slim.io/api-reference`).
pub const API_PREFIX: &str = "/api/v1";

/// A route of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Route {
    /// `GET /connectors`.
    ListConnectors,
    /// `POST /connectors`.
    CreateConnector,
    /// `GET /connectors/{id}`.
    ReadConnector,
    /// `DELETE /connectors/{id}`.
    DeleteConnector,
    /// `POST /connectors/{id}/test`.
    TestConnector,
    /// `POST /connectors/{id}/scan`.
    StartScan,
    /// `POST /scans/parallel`.
    StartParallelScan,
    /// `GET /scans/{id}`.
    ReadScan,
}

/// Verb of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// The verb as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

impl Route {
    /// All routes.
    pub const ALL: [Self; 8] = [
        Self::ListConnectors,
        Self::CreateConnector,
        Self::ReadConnector,
        Self::DeleteConnector,
        Self::TestConnector,
        Self::StartScan,
        Self::StartParallelScan,
        Self::ReadScan,
    ];

    /// Its verb.
    #[must_use]
    pub fn verb(self) -> Verb {
        match self {
            Self::ListConnectors | Self::ReadConnector | Self::ReadScan => Verb::Get,
            Self::CreateConnector | Self::TestConnector | Self::StartScan | Self::StartParallelScan => {
                Verb::Post
            }
            Self::DeleteConnector => Verb::Delete,
        }
    }

    /// Its path from the root of the host, with `{id}` where an id stands (the spelling of axum and OpenAPI).
    #[must_use]
    pub fn template(self) -> &'static str {
        match self {
            Self::ListConnectors | Self::CreateConnector => "/api/v1/connectors",
            Self::ReadConnector | Self::DeleteConnector => "/api/v1/connectors/{id}",
            Self::TestConnector => "/api/v1/connectors/{id}/test",
            Self::StartScan => "/api/v1/connectors/{id}/scan",
            Self::StartParallelScan => "/api/v1/scans/parallel",
            Self::ReadScan => "/api/v1/scans/{id}",
        }
    }

    /// Its name in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ListConnectors => "list connectors",
            Self::CreateConnector => "create connector",
            Self::ReadConnector => "read connector",
            Self::DeleteConnector => "delete connector",
            Self::TestConnector => "test connector",
            Self::StartScan => "start scan",
            Self::StartParallelScan => "start parallel scan",
            Self::ReadScan => "read scan",
        }
    }

    /// Its name as a metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::ListConnectors => "list_connectors",
            Self::CreateConnector => "create_connector",
            Self::ReadConnector => "read_connector",
            Self::DeleteConnector => "delete_connector",
            Self::TestConnector => "test_connector",
            Self::StartScan => "start_scan",
            Self::StartParallelScan => "start_parallel_scan",
            Self::ReadScan => "read_scan",
        }
    }

    /// Whether it changes what exists at the service, so that a lost answer leaves a question. A test does not:
    /// it may be run again.
    #[must_use]
    pub fn mutates(self) -> bool {
        match self {
            Self::CreateConnector | Self::DeleteConnector | Self::StartScan | Self::StartParallelScan => true,
            Self::ListConnectors | Self::ReadConnector | Self::TestConnector | Self::ReadScan => false,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_begins_with_the_prefix_and_no_two_routes_share_verb_and_path() {
        let mut seen = std::collections::HashSet::new();
        for route in Route::ALL {
            assert!(route.template().starts_with("/api/v1/"), "{route}");
            assert!(seen.insert((route.verb(), route.template())), "{route}");
            assert_eq!(route.label(), route.name().replace(' ', "_"));
        }
        assert!(Route::ReadScan.template().starts_with(API_PREFIX));
    }

    #[test]
    fn no_read_mutates() {
        assert!(Route::ALL.iter().all(|r| !(r.verb() == Verb::Get && r.mutates())));
        assert_eq!(Route::ALL.iter().filter(|r| r.mutates()).count(), 4);
    }
}
