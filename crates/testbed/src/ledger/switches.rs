//! How the double answers where the public pages leave it open, and where a service may differ. The default is what
//! `connectors-server` does.

use std::time::Duration;

/// One way to be a Connectors API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Time from a request's arrival to its answer.
    pub delay: Duration,
    /// Whether a second connector of one name is refused with 409.
    pub unique_names: bool,
    /// Which keys of `config` list and read give back.
    pub readable: Readable,
    /// How long a list does not yet show a new connector, and still shows a deleted one.
    pub list_lag: Duration,
    /// What a list says.
    pub list: Listing,
    /// Most items of a page, whatever is asked for.
    pub most_a_page: usize,
    /// Whether a list begins with the newest.
    pub newest_first: bool,
    /// `status` of a connector that was just created.
    pub created_state: String,
    /// How a test ends.
    pub test: TestAnswer,
    /// Whether a test moves the connector's `status`.
    pub test_moves_state: bool,
    /// How long a deleted connector can still be read.
    pub delete_takes: Duration,
    /// Whether a second DELETE is answered with 200 in place of 404.
    pub second_delete_succeeds: bool,
    /// Whether a read has `scan_history`.
    pub scan_history: bool,
    /// Whether `GET /scans/:id` exists.
    pub reads_scans: bool,
    /// Whether answers carry `metadata`.
    pub metadata: bool,
    /// Whether times have fractions of a second.
    pub fractions: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            unique_names: true,
            readable: Readable::WithoutSecrets,
            list_lag: Duration::ZERO,
            list: Listing::True,
            most_a_page: 100,
            newest_first: false,
            created_state: "pending_test".to_owned(),
            test: TestAnswer::Connected,
            test_moves_state: true,
            delete_takes: Duration::ZERO,
            second_delete_succeeds: false,
            scan_history: true,
            reads_scans: true,
            metadata: true,
            fractions: false,
        }
    }
}

/// Which keys of `config` can be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// All but `external_id` and `client_secret`.
    WithoutSecrets,
    /// `role_arn`, `region` and `buckets`, as in the vendor's sample.
    Sample,
    /// All, with the secret ones as `***`.
    Masked,
    /// None.
    Nothing,
}

/// What a list says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// What there is.
    True,
    /// Nothing at all, with 200.
    Empty,
    /// Every second list is empty.
    Flapping,
    /// The last item of each page comes again on the next.
    Overlapping,
    /// The first page alone, without a sign that there is more.
    FirstPage,
}

/// How a connection test ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestAnswer {
    /// `connected: true`.
    Connected,
    /// `connected: false` with cause and message.
    Refused,
    /// An error envelope with this status.
    Envelope(u16),
}
