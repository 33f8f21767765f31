//! Every reason that a condition or an event can carry. docs/reasons.md has a paragraph on each.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Why a condition is what it is. The words are stable: alerts and scripts may match on them.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Reason { $($(#[$doc])* $name),+ }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The word that stands in the condition.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

reasons! {
    /// All is well.
    Ready,
    /// The last connection test passed.
    Connected,
    /// The connector at the API is as the spec says.
    Synced,
    /// The connector is about to be created.
    Creating,
    /// A create was sent and its answer lost; it is being looked for.
    CreateOutcomeUnknown,
    /// Several connectors could be the one whose create's answer was lost.
    CreateOutcomeAmbiguous,
    /// A connector of that name, provider and config is at the API already, and nobody here owns it.
    AlreadyExists,
    /// A connector that exists at the API is about to be taken.
    Adopting,
    /// The connector to adopt is not as the spec says.
    AdoptionMismatch,
    /// The ClusterWorkspace does not allow to adopt or observe what was not created from here.
    AdoptionNotAllowed,
    /// Another Connector of this cluster has the connector.
    AlreadyClaimed,
    /// The annotation came with a copy of another object, and says nothing about this one.
    CopyIgnored,
    /// The connector that is observed is not as the spec says.
    ObservedDiffers,
    /// The API refused the name as taken.
    NameConflict,
    /// The API refused the request as it stands.
    RefusedByApi,
    /// The hourly limit of creates is used up.
    WaitingForQuota,
    /// The API, or the workspace's own limits, ask for patience.
    RateLimited,
    /// The spec is not valid.
    InvalidSpec,
    /// A Secret that the spec names is not there.
    SecretNotFound,
    /// The Secret lacks the named key.
    SecretKeyMissing,
    /// The value under the key cannot be used.
    SecretValueInvalid,
    /// The operator may not read the Secret.
    SecretForbidden,
    /// The workspace that the spec names is not there.
    WorkspaceNotFound,
    /// The workspace cannot be used at the moment.
    WorkspaceNotReady,
    /// The workspace is being deleted, and takes nothing new.
    WorkspaceDeleting,
    /// The ClusterWorkspace does not allow this namespace.
    NamespaceNotAllowed,
    /// The spec names a ClusterWorkspace, and the operator is held to namespaces.
    NotAvailableInNamespacedMode,
    /// The operator's configuration does not permit the endpoint.
    EndpointNotPermitted,
    /// The API does not accept the credential.
    Unauthorized,
    /// The credential's role does not suffice.
    Forbidden,
    /// The API cannot be reached or does not answer as one.
    ApiUnavailable,
    /// The API lists far fewer connectors than before, which is not believed.
    ListTooShort,
    /// A claim's owner is gone, and what became of its create was looked for.
    ClaimOrphaned,
    /// A create that was given up for lost made a connector after all.
    LateTwin,
    /// The credential or endpoint is not the one that the id was made under.
    IdentityChanged,
    /// No connection test has run yet.
    ConnectionTestPending,
    /// The last connection test failed.
    ConnectionTestFailed,
    /// The API says that the connector is in error.
    RemoteError,
    /// The API says that the connector is disconnected.
    RemoteDisconnected,
    /// The connector is not at the API any more.
    RemoteMissing,
    /// The API was not read for too long to say.
    NotReadRecently,
    /// The spec asks for what only a replacement can bring, and nobody consented to it.
    ReplacementRequired,
    /// Somebody changed the connector at the API, and nobody consented to making it anew.
    Drifted,
    /// The connector is being replaced.
    Replacing,
    /// The new connector could not take the old one's place, and the old one was kept.
    ReplacementFailed,
    /// A Secret changed after it was sent, and the API cannot be told.
    CredentialsOutdated,
    /// The object is being deleted.
    Deleting,
    /// The spec says to suspend.
    Suspended,
    /// The risk score is not above the limit.
    RiskAcceptable,
    /// The risk score is above the limit.
    RiskTooHigh,
    /// There is no risk score yet.
    NotScanned,
    /// The connector that the Scan names is not there.
    ConnectorNotFound,
    /// The connector exists, but cannot be scanned yet.
    ConnectorNotReady,
    /// The connector is only observed, and is not scanned from here.
    ConnectorObserved,
    /// The connector is being scanned already.
    ScanAlreadyRunning,
    /// The scan is about to be started.
    Starting,
    /// The scan waits for workers at the API.
    Queued,
    /// The scan runs.
    Running,
    /// The scan is complete.
    Completed,
    /// The scan failed at the API.
    ScanFailed,
    /// The scan was cancelled at the API.
    Cancelled,
    /// A start was sent, its answer lost, and no trace of it found.
    StartOutcomeUnknown,
    /// Several scans could be the one whose start's answer was lost.
    StartOutcomeAmbiguous,
    /// The scan could not begin in time.
    StartingDeadlineExceeded,
    /// The scan did not end in time.
    DeadlineExceeded,
    /// The scan is not at the API any more.
    ScanLost,
    /// The Scan ran before this object was restored from a copy, and is not run again.
    RestoredFromCopy,
    /// The schedule is in force.
    Scheduled,
    /// The schedule is no cron schedule.
    InvalidSchedule,
    /// The time zone is not known.
    TimeZoneUnknown,
    /// No day of the calendar fits the schedule.
    ScheduleNeverDue,
    /// The selector of the schedule matches no connector.
    NoConnectorMatches,
    /// An object that is not the schedule's has the name of one of its Scans.
    ScanNameTaken,
    /// Kubernetes refused a Scan of the schedule.
    ScanRefused,
    /// The schedule made a Scan.
    ScanMade,
    /// Runs of the schedule came due and were not begun.
    RunMissed,
    /// So many runs of the schedule were missed that something is wrong.
    TooManyMissedRuns,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_paragraph_in_the_documentation_and_no_other_has() {
        let text = include_str!("../../docs/reasons.md");
        let mut lines = text.lines();
        let mut headings = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("### ") {
                headings.push(name);
                let said = lines.by_ref().find(|line| !line.is_empty()).unwrap_or_default();
                assert!(!said.is_empty() && !said.starts_with('#'), "docs/reasons.md says nothing of {name}");
            }
        }
        let reasons = Reason::ALL.iter().map(|reason| reason.as_str()).collect::<Vec<_>>();
        assert_eq!(headings, reasons, "docs/reasons.md, and the enumeration in its order");
    }
}
