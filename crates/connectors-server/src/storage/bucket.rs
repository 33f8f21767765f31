//! One bucket of any cloud: listed page by page, objects read as a stream.
//!
//! Keys that the storage library cannot address (`a//b`, `../x`) do not stop a listing: each is passed
//! on by name as unreadable, and the listing goes on after it.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::{Error as PathError, Path};
use object_store::{ObjectStore, ObjectStoreExt};

use super::error::{Cause, StorageError, classify};
use crate::store::ListedObject;

/// Keys asked for at once: what S3 gives at most.
pub(crate) const PAGE_KEYS: usize = 1000;

/// A bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    name: String,
    objects: Arc<dyn ObjectStore>,
    listing: Arc<dyn PaginatedListStore>,
}

/// Where a listing is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Position {
    token: Option<String>,
    /// Start after this key, where there is no token.
    after: Option<String>,
    /// Fewer keys than usual are asked for, to get past a key that cannot be read.
    keys: Option<usize>,
}

/// Some objects, and where to go on, if anywhere.
pub(crate) struct Page {
    pub(crate) objects: Vec<ListedObject>,
    pub(crate) next: Option<Position>,
}

impl Position {
    /// The beginning, asking for so many keys only.
    pub(crate) fn first(keys: usize) -> Self {
        Self { keys: Some(keys), ..Self::default() }
    }
}

impl Bucket {
    pub(crate) fn new<S: ObjectStore + PaginatedListStore>(name: &str, store: Arc<S>) -> Self {
        Self { name: name.to_owned(), objects: store.clone(), listing: store }
    }

    /// The next page of what lies under a prefix (empty: all).
    pub(crate) async fn page(&self, prefix: &str, position: Position) -> Result<Page, StorageError> {
        let keys = position.keys.unwrap_or(PAGE_KEYS);
        let options = PaginatedListOptions {
            offset: position.after.clone(),
            page_token: position.token.clone(),
            max_keys: Some(keys),
            ..Default::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        match self.listing.list_paginated(prefix, options).await {
            Ok(found) => Ok(Page {
                objects: found.result.objects.into_iter().map(listed).collect(),
                next: found.page_token.map(|token| Position {
                    token: Some(token),
                    after: None,
                    // Grows back, so that one odd key does not make the whole listing slow.
                    keys: (keys < PAGE_KEYS).then(|| (keys * 2).min(PAGE_KEYS)),
                }),
            }),
            Err(object_store::Error::InvalidPath { source }) => match odd_key(&source) {
                Some(_) if keys > 1 => Ok(Page {
                    objects: Vec::new(),
                    next: Some(Position { keys: Some(keys / 2), ..position }),
                }),
                Some(key) => Ok(Page {
                    next: Some(Position { token: None, after: Some(key.clone()), keys: Some(2) }),
                    objects: vec![ListedObject {
                        key,
                        etag: None,
                        size: 0,
                        modified_ms: 0,
                        unreadable: Some("unsupported_key"),
                    }],
                }),
                None => Err(StorageError::new(
                    Cause::ProviderError,
                    format!("cannot list bucket {:?}: it holds a key that cannot be read", self.name),
                )),
            },
            Err(error) => {
                tracing::debug!(bucket = %self.name, error = %error, "listing refused");
                Err(classify(&error, &format!("list bucket {:?}", self.name)))
            }
        }
    }

    /// The content of an object, in pieces of whatever size the network gives.
    pub(crate) async fn read(
        &self,
        key: &str,
    ) -> Result<BoxStream<'static, Result<Bytes, StorageError>>, StorageError> {
        let action = format!("read an object of bucket {:?}", self.name);
        let path = Path::parse(key).map_err(|_| {
            StorageError::new(Cause::ProviderError, format!("cannot {action}: unsupported key"))
        })?;
        let content = self.objects.get(&path).await.map_err(|error| classify(&error, &action))?;
        Ok(content.into_stream().map_err(move |error| classify(&error, &action)).boxed())
    }
}

fn listed(meta: object_store::ObjectMeta) -> ListedObject {
    ListedObject {
        key: meta.location.into(),
        etag: meta.e_tag,
        size: meta.size,
        modified_ms: meta.last_modified.timestamp_millis(),
        unreadable: None,
    }
}

/// The key that a listing stumbled over, as the service wrote it.
fn odd_key(error: &PathError) -> Option<String> {
    match error {
        PathError::EmptySegment { path } | PathError::BadSegment { path, .. } => Some(path.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object_store::aws::AmazonS3Builder;
    use object_store::{ClientOptions, RetryConfig};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Promises a hundred bytes, gives ten, and hangs up; takes no connection after the first.
    async fn storage_that_hangs_up() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            drop(listener);
            let _ = connection.read(&mut [0; 4096]).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\netag: \"e\"\r\n\
                        last-modified: Tue, 10 Feb 2026 11:20:01 GMT\r\n\r\n0123456789";
            let _ = connection.write_all(head.as_bytes()).await;
        });
        endpoint
    }

    #[tokio::test]
    async fn a_body_that_is_cut_off_is_worth_another_try() {
        let store = AmazonS3Builder::new()
            .with_bucket_name("b")
            .with_region("us-east-1")
            .with_endpoint(storage_that_hangs_up().await)
            .with_skip_signature(true)
            .with_client_options(ClientOptions::new().with_allow_http(true))
            .with_retry(RetryConfig {
                max_retries: 1,
                retry_timeout: Duration::from_secs(5),
                ..RetryConfig::default()
            })
            .build()
            .unwrap();
        let content = Bucket::new("b", Arc::new(store)).read("people.csv").await.unwrap();
        let error = content.try_collect::<Vec<Bytes>>().await.unwrap_err();
        assert!(error.cause.is_transient(), "{error:?}");
    }
}
