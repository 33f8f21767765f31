//! API keys: made once, shown once, kept as a hash; each belongs to one workspace and one role.

use std::fmt::Write as _;

use clap::ValueEnum;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use sqlx::{FromRow, Row};

use super::ids::new_api_key;
use super::{IdKind, Store, StoreError, WorkspaceScope, new_id, now_ms, time};

/// What a key may do. The order is that of the rights: each role may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also tests connectors and starts scans.
    Editor,
    /// Also creates and deletes connectors.
    Admin,
}

impl Role {
    /// The word on the command line and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Editor, Self::Admin].into_iter().find(|role| role.as_str() == word)
    }
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) scope: WorkspaceScope,
    pub(crate) role: Role,
}

/// A key as `keys list` shows it.
#[derive(Debug)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) workspace: String,
    pub(crate) role: String,
    pub(crate) created_at: Timestamp,
    pub(crate) revoked: bool,
}

impl Store {
    /// Makes a key for a workspace, and the workspace where it is not there yet. The key cannot be read again.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be written; no key is made then.
    pub async fn create_key(&self, workspace: &str, role: Role) -> Result<SecretString, StoreError> {
        let key = new_api_key();
        let mut write = self.write().await?;
        sqlx::query(
            "INSERT INTO workspaces (id, name, created_ms) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        )
        .bind(new_id(IdKind::Workspace))
        .bind(workspace)
        .bind(now_ms())
        .execute(write.conn())
        .await?;
        sqlx::query(
            "INSERT INTO api_keys (id, workspace_id, token_sha256, role, created_ms)
             SELECT $1, id, $2, $3, $4 FROM workspaces WHERE name = $5",
        )
        .bind(new_id(IdKind::Key))
        .bind(digest(key.expose_secret()))
        .bind(role.as_str())
        .bind(now_ms())
        .bind(workspace)
        .execute(write.conn())
        .await?;
        write.commit().await?;
        Ok(key)
    }

    /// All keys, without anything that could be used as one.
    pub(crate) async fn keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT k.id, w.name AS workspace, k.role, k.created_ms, k.revoked_ms
             FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id ORDER BY w.name, k.id",
        )
        .fetch_all(&self.readers)
        .await?;
        let key = |row: &sqlx::sqlite::SqliteRow| -> Result<KeyRow, sqlx::Error> {
            Ok(KeyRow {
                id: row.try_get("id")?,
                workspace: row.try_get("workspace")?,
                role: row.try_get("role")?,
                created_at: time(row.try_get("created_ms")?),
                revoked: row.try_get::<Option<i64>, _>("revoked_ms")?.is_some(),
            })
        };
        Ok(rows.iter().map(key).collect::<Result<_, _>>()?)
    }

    /// Ends a key from the next request on. Answers whether there was such a key.
    pub(crate) async fn revoke_key(&self, id: &str) -> Result<bool, StoreError> {
        let mut write = self.write().await?;
        let done = sqlx::query("UPDATE api_keys SET revoked_ms = COALESCE(revoked_ms, $2) WHERE id = $1")
            .bind(id)
            .bind(now_ms())
            .execute(write.conn())
            .await?;
        write.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Who holds this key. The look-up is by hash, so its time tells nothing about how much of a guess was right.
    pub(crate) async fn authenticate(&self, token: &str) -> Result<Option<Caller>, StoreError> {
        #[derive(FromRow)]
        struct Found {
            workspace_id: String,
            role: String,
        }
        let found: Option<Found> = sqlx::query_as(
            "SELECT workspace_id, role FROM api_keys WHERE token_sha256 = $1 AND revoked_ms IS NULL",
        )
        .bind(digest(token))
        .fetch_optional(&self.readers)
        .await?;
        Ok(found.and_then(|Found { workspace_id, role }| {
            Some(Caller {
                scope: WorkspaceScope { store: self.clone(), workspace_id },
                role: Role::parse(&role)?,
            })
        }))
    }
}

fn digest(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::DatabaseSettings;

    async fn store(dir: &tempfile::TempDir) -> Store {
        let url = format!("sqlite://{}/x.db", dir.path().display());
        Store::open(&DatabaseSettings { url, max_size_mib: None }).await.unwrap()
    }

    #[tokio::test]
    async fn a_key_opens_its_workspace_until_it_is_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let key = store.create_key("default", Role::Editor).await.unwrap();
        let other = store.create_key("other", Role::Admin).await.unwrap();

        let caller = store.authenticate(key.expose_secret()).await.unwrap().unwrap();
        let second = store.authenticate(other.expose_secret()).await.unwrap().unwrap();
        assert_eq!((caller.role, second.role), (Role::Editor, Role::Admin));
        assert_ne!(caller.scope.workspace_id(), second.scope.workspace_id());
        assert!(store.authenticate("sk_live_wrong").await.unwrap().is_none());

        let id = store.keys().await.unwrap().into_iter().find(|k| k.workspace == "default").unwrap().id;
        assert!(store.revoke_key(&id).await.unwrap());
        assert!(store.authenticate(key.expose_secret()).await.unwrap().is_none());
        assert!(!store.revoke_key("key-nope").await.unwrap());
    }

    #[tokio::test]
    async fn two_keys_of_one_workspace_name_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let mut ids = Vec::new();
        for role in [Role::Viewer, Role::Admin] {
            let key = store.create_key("default", role).await.unwrap();
            let caller = store.authenticate(key.expose_secret()).await.unwrap().unwrap();
            ids.push(caller.scope.workspace_id().to_owned());
        }
        assert_eq!(ids[0], ids[1]);
    }

    #[tokio::test]
    async fn the_file_does_not_hold_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let key = store.create_key("default", Role::Admin).await.unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let needle = key.expose_secret().as_bytes();
            assert!(!bytes.windows(needle.len()).any(|w| w == needle));
        }
    }

    #[test]
    fn an_admin_may_do_more_than_an_editor_and_an_editor_more_than_a_viewer() {
        assert!(Role::Admin > Role::Editor && Role::Editor > Role::Viewer);
    }
}
