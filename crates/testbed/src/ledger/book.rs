//! What the double remembers: the connectors there are, and every mutation there ever was, in order.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Map, Value};

/// What a mutation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deed {
    /// A connector was created.
    Created,
    /// A connector was deleted over the API.
    Deleted,
    /// A connector was removed or made by the test itself, behind the API's back.
    OutOfBand,
    /// A scan was started.
    ScanStarted,
}

/// One line of the ledger. Lines are only ever added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it was done.
    pub at: Timestamp,
    /// What was done.
    pub deed: Deed,
    /// The workspace of the key that asked.
    pub workspace: String,
    /// The connector's id.
    pub id: String,
    /// The connector's name.
    pub name: String,
}

/// A connector as the double has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Its id.
    pub id: String,
    /// The workspace that it is in.
    pub workspace: String,
    /// Its name.
    pub name: String,
    /// Its provider.
    pub provider: String,
    /// Its configuration, whole.
    pub config: Map<String, Value>,
    /// Its `status`.
    pub state: String,
    /// Risk score; none before the first scan.
    pub risk_score: Option<u32>,
    /// Findings.
    pub findings_count: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its scans, newest last.
    pub scans: Vec<HeldScan>,
    pub(super) since: Instant,
    /// When it was deleted; it is kept for lists that lag and for deletions that take time.
    pub(super) gone: Option<Instant>,
}

/// A scan as the double has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldScan {
    /// Its id.
    pub id: String,
    /// Its `status`.
    pub state: String,
    /// When it began.
    pub started_at: Timestamp,
}

impl Held {
    /// Whether it still exists.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.gone.is_none()
    }

    pub(super) fn readable(&self, delete_takes: Duration) -> bool {
        self.gone.is_none_or(|gone| gone.elapsed() < delete_takes)
    }

    pub(super) fn listed(&self, lag: Duration, delete_takes: Duration) -> bool {
        // A connector that lived for less than the lag was never listed.
        let seen = self.since.elapsed() >= lag;
        seen && self.gone.is_none_or(|gone| gone.elapsed() < lag.max(delete_takes))
    }
}

#[derive(Debug, Default)]
pub(super) struct Book {
    connectors: BTreeMap<String, Held>,
    entries: Vec<Entry>,
    names: BTreeMap<(String, String), u32>,
    next: u64,
    lists: u64,
}

impl Book {
    pub(super) fn create(
        &mut self,
        workspace: &str,
        name: &str,
        provider: &str,
        config: Map<String, Value>,
        state: &str,
        deed: Deed,
    ) -> Held {
        self.next += 1;
        let now = Timestamp::now();
        let held = Held {
            id: format!("conn-{:08x}", self.next),
            workspace: workspace.to_owned(),
            name: name.to_owned(),
            provider: provider.to_owned(),
            config,
            state: state.to_owned(),
            risk_score: None,
            findings_count: 0,
            created_at: now,
            updated_at: now,
            scans: Vec::new(),
            since: Instant::now(),
            gone: None,
        };
        *self.names.entry((workspace.to_owned(), name.to_owned())).or_default() += 1;
        self.note(deed, &held);
        self.connectors.insert(held.id.clone(), held.clone());
        held
    }

    /// Deletes it; whether it was there.
    pub(super) fn delete(&mut self, workspace: &str, id: &str, deed: Deed) -> bool {
        let found = self.connectors.get_mut(id).filter(|held| held.workspace == workspace && held.lives());
        let Some(held) = found else { return false };
        held.gone = Some(Instant::now());
        let held = held.clone();
        if let Some(count) = self.names.get_mut(&(held.workspace.clone(), held.name.clone())) {
            *count = count.saturating_sub(1);
        }
        self.note(deed, &held);
        true
    }

    pub(super) fn start_scan(&mut self, workspace: &str, id: &str) -> Option<HeldScan> {
        self.next += 1;
        let scan = HeldScan {
            id: format!("scan-{:08x}", self.next),
            state: "queued".to_owned(),
            started_at: Timestamp::now(),
        };
        let held = self.connectors.get_mut(id).filter(|held| held.workspace == workspace && held.lives())?;
        held.scans.push(scan.clone());
        let held = held.clone();
        self.note(Deed::ScanStarted, &held);
        Some(scan)
    }

    pub(super) fn find(&self, workspace: &str, id: &str) -> Option<&Held> {
        self.connectors.get(id).filter(|held| held.workspace == workspace)
    }

    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Held)) -> bool {
        let Some(held) = self.connectors.get_mut(id) else { return false };
        change(held);
        held.updated_at = Timestamp::now();
        true
    }

    pub(super) fn has_name(&self, workspace: &str, name: &str) -> bool {
        self.names.get(&(workspace.to_owned(), name.to_owned())).is_some_and(|count| *count > 0)
    }

    /// Whatever a workspace has or had whose id comes after this one, in order of id.
    pub(super) fn after<'a>(
        &'a self,
        workspace: &'a str,
        id: &str,
    ) -> impl DoubleEndedIterator<Item = &'a Held> {
        let from = (std::ops::Bound::Excluded(id.to_owned()), std::ops::Bound::Unbounded);
        self.connectors.range(from).map(|(_, held)| held).filter(move |held| held.workspace == workspace)
    }

    /// Whatever comes before this id (everything, without one), newest first.
    pub(super) fn before<'a>(&'a self, workspace: &'a str, id: &str) -> impl Iterator<Item = &'a Held> {
        let end = if id.is_empty() { "conn-~" } else { id };
        self.connectors
            .range(..end.to_owned())
            .rev()
            .map(|(_, held)| held)
            .filter(move |held| held.workspace == workspace)
    }

    /// Counts one whole list; whether its number is odd.
    pub(super) fn lists_once_more(&mut self) -> bool {
        self.lists += 1;
        self.lists % 2 == 1
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn live(&self) -> impl Iterator<Item = &Held> {
        self.connectors.values().filter(|held| held.lives())
    }

    fn note(&mut self, deed: Deed, held: &Held) {
        self.entries.push(Entry {
            at: Timestamp::now(),
            deed,
            workspace: held.workspace.clone(),
            id: held.id.clone(),
            name: held.name.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(book: &mut Book, name: &str) -> String {
        book.create("w", name, "aws", Map::new(), "active", Deed::Created).id
    }

    #[test]
    fn every_mutation_is_a_line_and_no_line_goes() {
        let mut book = Book::default();
        let id = made(&mut book, "a");
        assert!(book.has_name("w", "a") && !book.has_name("v", "a"));
        assert!(book.delete("w", &id, Deed::Deleted));
        assert!(!book.delete("w", &id, Deed::Deleted), "only once");
        assert!(!book.has_name("w", "a"));
        let deeds: Vec<Deed> = book.entries().iter().map(|entry| entry.deed).collect();
        assert_eq!(deeds, [Deed::Created, Deed::Deleted]);
        assert_eq!(book.live().count(), 0);
    }

    #[test]
    fn another_workspace_sees_and_deletes_nothing() {
        let mut book = Book::default();
        let id = made(&mut book, "a");
        assert!(book.find("v", &id).is_none());
        assert!(!book.delete("v", &id, Deed::Deleted));
        assert!(book.start_scan("v", &id).is_none());
        assert_eq!((book.after("v", "").count(), book.after("w", "").count()), (0, 1));
    }

    #[test]
    fn a_lagging_list_misses_the_new_and_shows_the_deleted() {
        let mut book = Book::default();
        let id = made(&mut book, "a");
        let held = book.find("w", &id).unwrap();
        assert!(
            !held.listed(Duration::from_mins(1), Duration::ZERO)
                && held.listed(Duration::ZERO, Duration::ZERO)
        );
        book.delete("w", &id, Deed::Deleted);
        let held = book.find("w", &id).unwrap();
        assert!(!held.readable(Duration::ZERO) && held.readable(Duration::from_mins(1)));
        assert!(
            held.listed(Duration::ZERO, Duration::from_mins(1))
                && !held.listed(Duration::ZERO, Duration::ZERO)
        );
    }
}
