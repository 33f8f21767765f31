//! The APIs that can be asked at the moment, by workspace object. Workspaces with the same endpoint and credential share
//! one [`Remote`]: one budget, and one list.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::RwLock;

use super::Blocked;
use super::workspace::AnyWorkspace;
use crate::crd::{WorkspaceId, WorkspaceKey};
use crate::remote::Remote;

/// What a workspace object stands for at the moment.
#[derive(Clone)]
pub struct Entry {
    /// The object.
    pub id: WorkspaceId,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is being deleted: it serves deletions, and nothing new.
    pub deleting: bool,
    /// Whether its claims are about to be kept elsewhere: until then none is opened.
    pub moving: bool,
    /// The API, from the last credential that could be used. It still serves deletions when the Secret is gone.
    pub remote: Option<Arc<Remote>>,
    /// Salted digest of the credential and endpoint of `remote`.
    pub identity: Option<String>,
    /// Identities of former keys that reach the same API workspace.
    pub former: Vec<String>,
    /// Identities that were given up: what was made under them stays at the API, and is nobody's here.
    pub retired: Vec<String>,
    /// Whether today's key has not shown yet that it reaches the API workspace that ids and claims were made in.
    pub changed: bool,
    /// Why nothing new is created, though the rest goes on.
    pub closed: Option<Blocked>,
    /// Why it cannot be used for anything new.
    pub blocked: Option<Blocked>,
    /// Something that hinders requests, but does not question what was read.
    pub trouble: Option<Blocked>,
    /// How far apart the polls are.
    pub poll_interval: Duration,
}

impl Entry {
    /// What a workspace object stands for before anything is known of its API.
    pub fn blank(workspace: &AnyWorkspace) -> Self {
        let created = workspace.meta().creation_timestamp.as_ref();
        Self {
            id: workspace.id(),
            created: created.map_or(Timestamp::UNIX_EPOCH, |time| time.0),
            deleting: workspace.is_deleting(),
            moving: false,
            remote: None,
            identity: None,
            former: Vec::new(),
            retired: Vec::new(),
            changed: false,
            closed: None,
            blocked: None,
            trouble: None,
            poll_interval: Duration::from_mins(1),
        }
    }
}

/// The workspaces that this process knows.
#[derive(Default)]
pub struct Registry {
    entries: RwLock<HashMap<WorkspaceKey, Entry>>,
    remotes: RwLock<HashMap<String, Weak<Remote>>>,
}

impl Registry {
    /// What a workspace stands for; none if it was not looked at yet.
    pub fn get(&self, key: &WorkspaceKey) -> Option<Entry> {
        self.entries.read().get(key).cloned()
    }

    /// Whether a workspace's claims are about to be kept elsewhere.
    pub fn is_moving(&self, key: &WorkspaceKey) -> bool {
        self.entries.read().get(key).is_some_and(|entry| entry.moving)
    }

    /// All of them, as they are at the moment.
    pub fn all(&self) -> Vec<Entry> {
        self.entries.read().values().cloned().collect()
    }

    /// Puts down what a workspace stands for.
    pub fn put(&self, key: WorkspaceKey, entry: Entry) {
        self.entries.write().insert(key, entry);
    }

    /// Forgets a workspace that is gone.
    pub fn remove(&self, key: &WorkspaceKey) {
        self.entries.write().remove(key);
    }

    /// The remote of that digest, or a new one.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn share<E>(&self, digest: &str, make: impl FnOnce() -> Result<Remote, E>) -> Result<Arc<Remote>, E> {
        let mut remotes = self.remotes.write();
        remotes.retain(|_, remote| remote.strong_count() > 0);
        if let Some(remote) = remotes.get(digest).and_then(Weak::upgrade) {
            return Ok(remote);
        }
        let remote = Arc::new(make()?);
        remotes.insert(digest.to_owned(), Arc::downgrade(&remote));
        Ok(remote)
    }
}
