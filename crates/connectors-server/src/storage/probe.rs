//! The connection test: takes the role and lists the scope once, within a time a person waits for.

use std::time::{Duration, Instant};

use connectors_api::Scope;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};

use super::aws::Patience;
use super::bucket::Position;
use super::error::{Cause, StorageError};
use super::scope::{distinct_prefixes, has_type, scope_of};
use super::{Clouds, Storage};
use crate::store::ConnectorTarget;

/// Longest a test may take.
const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Buckets that are asked at the same time.
const PARALLEL: usize = 4;

/// Prefixes of one bucket that are asked: enough for a test.
const PREFIXES: usize = 20;

/// Pages of one listing that are asked until one has objects.
const PAGES: usize = 12;

/// What a test found out.
#[derive(Debug, PartialEq)]
pub(crate) struct Probe {
    /// Buckets that could be listed, in the order of the connector.
    pub(crate) buckets: Vec<String>,
    /// Objects on the first page of each listing that are in scope.
    pub(crate) objects: u64,
    pub(crate) latency: Duration,
    /// What failed, if anything did.
    pub(crate) failure: Option<StorageError>,
}

impl Clouds {
    /// Tests a connector. A failure is an answer, not an error.
    pub(crate) async fn probe(&self, target: &ConnectorTarget) -> Probe {
        let start = Instant::now();
        let scope = scope_of(&target.config);
        let mut probe = Probe { buckets: Vec::new(), objects: 0, latency: Duration::ZERO, failure: None };
        let run = self.run(target, &scope, &mut probe);
        match tokio::time::timeout(PROBE_LIMIT, run).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => probe.failure = Some(error),
            Err(_) => {
                let message = format!(
                    "the test was stopped after {} seconds without a full answer",
                    PROBE_LIMIT.as_secs()
                );
                probe.failure = Some(StorageError::new(Cause::Timeout, message));
            }
        }
        probe.latency = start.elapsed();
        probe
    }

    async fn run(
        &self,
        target: &ConnectorTarget,
        scope: &Scope,
        probe: &mut Probe,
    ) -> Result<(), StorageError> {
        let storage = self.open(target, Patience::Test)?;
        storage.check().await?;
        if scope.buckets.is_empty() {
            return Err(StorageError::new(
                Cause::NoBucketsInScope,
                "the role was taken, but the connector names no bucket, and the documented permissions do not allow \
                 this server to look for them; name the buckets to scan in `config.buckets`",
            ));
        }
        let prefixes = distinct_prefixes(&scope.prefixes);
        // Boxed at once: a stream of borrowing closures is more than the compiler can follow here.
        let asked: Vec<BoxFuture<'_, Result<u64, StorageError>>> = scope
            .buckets
            .iter()
            .map(|name| sample(&storage, name, &prefixes, &scope.file_types).boxed())
            .collect();
        let mut answers = stream::iter(asked).buffered(PARALLEL).zip(stream::iter(&scope.buckets));
        let mut failed: Vec<StorageError> = Vec::new();
        while let Some((answer, name)) = answers.next().await {
            match answer {
                Ok(objects) => {
                    probe.buckets.push(name.clone());
                    probe.objects += objects;
                }
                Err(error) => failed.push(error),
            }
        }
        let more = failed.len().saturating_sub(1);
        match failed.into_iter().next() {
            None => Ok(()),
            Some(error) if more == 0 => Err(error),
            Some(mut error) => {
                error.message = format!("{} (and {more} more buckets that did not answer)", error.message);
                Err(error)
            }
        }
    }
}

async fn sample(
    storage: &Storage,
    bucket: &str,
    prefixes: &[String],
    file_types: &[String],
) -> Result<u64, StorageError> {
    let bucket = storage.bucket(bucket)?;
    let mut objects = 0;
    for prefix in prefixes.iter().take(PREFIXES) {
        let mut position = Some(Position::default());
        // A page is empty when an odd key made the listing take smaller steps.
        for _ in 0..PAGES {
            let Some(here) = position.take() else { break };
            let page = bucket.page(prefix, here).await?;
            if !page.objects.is_empty() {
                objects += page.objects.iter().filter(|o| has_type(&o.key, file_types)).count() as u64;
                break;
            }
            position = page.next;
        }
    }
    Ok(objects)
}
