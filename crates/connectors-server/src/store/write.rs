//! Write transactions: one at a time, first come first served, and either whole or not at all.

use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{SqliteConnection, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use super::{Store, StoreError};

/// A write transaction. Dropped without [`commit`](Self::commit), it leaves nothing behind.
pub(crate) struct Write {
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedSemaphorePermit,
}

impl Write {
    /// The connection to run statements on.
    pub(crate) fn conn(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Makes the writes last.
    pub(crate) async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Store {
    /// Begins a write whose commit reaches the disk before it returns.
    pub(crate) async fn write(&self) -> Result<Write, StoreError> {
        self.begin(&self.writer).await
    }

    /// Begins a write of a scan's progress. A killed process loses none of it; a power cut may lose the last ones,
    /// whose objects are then scanned again.
    pub(crate) async fn write_progress(&self) -> Result<Write, StoreError> {
        self.begin(&self.jobs).await
    }

    async fn begin(&self, pool: &SqlitePool) -> Result<Write, StoreError> {
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        // A transaction that reads first and writes later can be refused in its middle; this one takes the lock now.
        let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Write { transaction, _turn: turn })
    }
}
