//! Lists: pages as they come, all items as a stream, or the whole at once, always knowing whether it is complete.
//!
//! From a list that is not complete nobody may conclude that something is absent. So a list that stopped early
//! (a cursor that came again, a limit, an item that cannot be read) says so: the stream ends in
//! [`ListError::Incomplete`], a [`Listing`] carries the reason.

use std::collections::{HashSet, VecDeque};

use futures::stream::{self, Stream};
use jiff::Timestamp;
use reqwest::{Method, Request};
use serde_json::Value;

use super::exchange::Content;
use super::{Answer, Client, RateLimit};
use crate::error::Error;
use crate::paths::Route;
use crate::wire::{ConnectorId, ConnectorItem, ConnectorState, Cursor, Pagination, Provider};

/// Which connectors to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only this cloud.
    pub provider: Option<Provider>,
    /// Only this state. Only the three documented words are sent; others are filtered here.
    pub status: Option<ConnectorState>,
    /// Page size, brought into 1 to 100 before it is sent; `None` means 100.
    pub limit: Option<u32>,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Items that can be read and fit the query, in the order of the service.
    pub items: Vec<ConnectorItem>,
    /// Items that cannot be read, since they have no usable id or a value makes no sense.
    pub unreadable: usize,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// What it may take in memory, in bytes, roughly.
    memory: usize,
    /// Why the list cannot go on after this page although it seems to have more.
    broken_off: Option<Incomplete>,
}

/// Guards of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// Most pages to read. Default 1,000.
    pub max_pages: usize,
    /// Most items to take. Default 20,000.
    pub max_items: usize,
    /// Most memory that the items may take, in bytes, roughly. Default 128 MiB: 20,000 ordinary ones take a third of it.
    pub max_memory: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        Self { max_pages: 1_000, max_items: 20_000, max_memory: 128 * 1024 * 1024 }
    }
}

/// Why a list is not complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// The service gave a cursor that it had given before.
    #[error("the service repeated a cursor after {pages} pages")]
    CursorRepeated {
        /// Pages read.
        pages: usize,
    },
    /// The service said that there is more and gave no cursor.
    #[error("the service said that there is more and did not say where")]
    NoCursor,
    /// A full page came without `pagination`, so there may be more.
    #[error("a full page came without pagination")]
    NoPagination,
    /// More pages than the limit.
    #[error("there are more than {0} pages")]
    PageLimit(usize),
    /// More items than the limit.
    #[error("there are more than {0} connectors")]
    ItemLimit(usize),
    /// More memory than the limit.
    #[error("it takes more than {} MiB", .0 / (1024 * 1024))]
    MemoryLimit(usize),
    /// Items that cannot be read.
    #[error("{0} connectors in it cannot be read")]
    Unreadable(usize),
}

/// Why a stream of items ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// A page could not be read.
    #[error(transparent)]
    Request(#[from] Error),
    /// All that could be had was given, and it is not everything.
    #[error("the list of connectors is not complete: {0}")]
    Incomplete(#[from] Incomplete),
}

/// A list, read to its end or to one of its guards.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Items, each id once.
    pub items: Vec<ConnectorItem>,
    /// Pages read.
    pub pages: usize,
    /// When its first request was about to be sent, on our clock.
    pub begun_at: Timestamp,
    /// Why something may be missing from it; `None` when it is complete.
    pub incomplete: Option<Incomplete>,
}

impl Listing {
    /// Whether what is not in it was not there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_none()
    }
}

impl ListQuery {
    fn page_size(&self) -> u32 {
        self.limit.unwrap_or(Pagination::MAX_LIMIT).clamp(1, Pagination::MAX_LIMIT)
    }

    fn parameters(&self, cursor: Option<&Cursor>) -> Vec<(&'static str, String)> {
        let mut parameters = vec![("limit", self.page_size().to_string())];
        if let Some(provider) = self.provider.as_ref().filter(|provider| provider.is_known()) {
            parameters.push(("provider", provider.to_string()));
        }
        if let Some(state @ (ConnectorState::Active | ConnectorState::Disconnected | ConnectorState::Error)) =
            &self.status
        {
            parameters.push(("status", state.to_string()));
        }
        if let Some(cursor) = cursor {
            parameters.push(("cursor", cursor.to_string()));
        }
        parameters
    }

    fn fits(&self, item: &ConnectorItem) -> bool {
        self.provider.as_ref().is_none_or(|provider| *provider == item.provider)
            && self.status.as_ref().is_none_or(|status| *status == item.status)
    }

    fn page(&self, content: Content<Vec<Value>>) -> Page {
        let Content { data, pagination, memory } = content;
        let count = data.len();
        let readable: Vec<ConnectorItem> =
            data.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
        let unreadable = count - readable.len();
        let next = pagination.as_ref().and_then(|pagination| pagination.next().cloned());
        let broken_off = match pagination {
            Some(pagination) if pagination.has_more && next.is_none() => Some(Incomplete::NoCursor),
            None if count >= self.page_size() as usize => Some(Incomplete::NoPagination),
            _ => None,
        };
        let items = readable.into_iter().filter(|item| self.fits(item)).collect();
        Page { items, unreadable, next, memory, broken_off }
    }
}

/// A list that is read page by page, with the guards of a whole one.
pub struct Pages {
    client: Client,
    query: ListQuery,
    limits: ListLimits,
    /// Cursor of the next page; `None` before the first.
    cursor: Option<Cursor>,
    cursors: HashSet<Cursor>,
    ids: HashSet<ConnectorId>,
    pages: usize,
    memory: usize,
    unreadable: usize,
    done: bool,
    incomplete: Option<Incomplete>,
    rate_limit: RateLimit,
}

impl Pages {
    fn new(client: Client, query: ListQuery, limits: ListLimits) -> Self {
        Self {
            client,
            query,
            limits,
            cursor: None,
            cursors: HashSet::new(),
            ids: HashSet::new(),
            pages: 0,
            memory: 0,
            unreadable: 0,
            done: false,
            incomplete: None,
            rate_limit: RateLimit::default(),
        }
    }

    /// The items of the next page that did not come before; `None` at the end.
    ///
    /// # Errors
    /// When the page is refused or cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<ConnectorItem>>, Error> {
        if self.done {
            return Ok(None);
        }
        let Answer { value: page, rate_limit, .. } =
            self.client.list_page(&self.query, self.cursor.as_ref()).await?;
        self.rate_limit = rate_limit;
        self.pages += 1;
        self.memory += page.memory;
        self.unreadable += page.unreadable;
        let mut fresh = Vec::with_capacity(page.items.len());
        let mut too_many = false;
        for item in page.items {
            if self.ids.contains(&item.id) {
                continue;
            }
            if self.ids.len() >= self.limits.max_items {
                too_many = true;
                break;
            }
            self.ids.insert(item.id.clone());
            fresh.push(item);
        }
        self.incomplete = if too_many {
            Some(Incomplete::ItemLimit(self.limits.max_items))
        } else if self.memory > self.limits.max_memory {
            Some(Incomplete::MemoryLimit(self.limits.max_memory))
        } else {
            page.broken_off.or_else(|| self.turn_to(page.next))
        };
        self.done = self.incomplete.is_some() || self.cursor.is_none();
        if self.unreadable > 0 {
            self.incomplete = self.incomplete.or(Some(Incomplete::Unreadable(self.unreadable)));
        }
        Ok(Some(fresh))
    }

    /// Whether the end was reached: [`next`](Self::next) gives nothing more, and sends nothing.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The service's counters, as far as it sent them with the last page.
    #[must_use]
    pub fn rate_limit(&self) -> RateLimit {
        self.rate_limit
    }

    /// Requests answered so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.pages
    }

    /// At the end: why something may be missing; `None` when the list is complete.
    #[must_use]
    pub fn incomplete(&self) -> Option<Incomplete> {
        self.incomplete
    }

    /// Remembers where to go on, or says why that is not possible.
    fn turn_to(&mut self, next: Option<Cursor>) -> Option<Incomplete> {
        self.cursor = next;
        let cursor = self.cursor.as_ref()?;
        if !self.cursors.insert(cursor.clone()) {
            return Some(Incomplete::CursorRepeated { pages: self.pages });
        }
        (self.pages >= self.limits.max_pages).then_some(Incomplete::PageLimit(self.limits.max_pages))
    }
}

impl Client {
    /// Reads one page: `GET /connectors`.
    ///
    /// # Errors
    /// When the page is refused or its envelope cannot be read. A single odd item does not spoil a page.
    pub async fn list_page(&self, query: &ListQuery, cursor: Option<&Cursor>) -> Result<Answer<Page>, Error> {
        let route = Route::ListConnectors;
        let mut url = self.endpoint().route_url(route, "");
        url.query_pairs_mut().extend_pairs(query.parameters(cursor));
        let request = Request::new(Method::GET, url);
        let answer = self.exchange(route, &[], self.0.limits.ordinary()).run::<Vec<Value>>(request).await?;
        Ok(answer.map(|content| query.page(content)))
    }

    /// The list, one request at a time: for callers that count each of them.
    #[must_use]
    pub fn pages(&self, query: ListQuery, limits: ListLimits) -> Pages {
        Pages::new(self.clone(), query, limits)
    }

    /// All connectors that fit, page by page as they are asked for, each id once.
    ///
    /// The stream ends after its first error. [`ListError::Incomplete`] comes last, after all items that could be
    /// had; a stream that ends without an error was complete.
    pub fn list_all(
        &self,
        query: ListQuery,
        limits: ListLimits,
    ) -> impl Stream<Item = Result<ConnectorItem, ListError>> + Send + use<> {
        let start = (Pages::new(self.clone(), query, limits), VecDeque::new());
        stream::try_unfold(start, |(mut reading, mut ready)| async move {
            loop {
                if let Some(item) = ready.pop_front() {
                    return Ok(Some((item, (reading, ready))));
                }
                match reading.next().await? {
                    Some(fresh) => ready.extend(fresh),
                    None => return reading.incomplete.map_or(Ok(None), |why| Err(ListError::from(why))),
                }
            }
        })
    }

    /// All connectors that fit, at once.
    ///
    /// # Errors
    /// When a page cannot be read. A list that stopped at a guard is no error: see [`Listing::incomplete`].
    pub async fn list(&self, query: &ListQuery, limits: ListLimits) -> Result<Listing, Error> {
        let begun_at = Timestamp::now();
        let mut reading = Pages::new(self.clone(), query.clone(), limits);
        let mut items = Vec::new();
        while let Some(fresh) = reading.next().await? {
            items.extend(fresh);
        }
        Ok(Listing { items, pages: reading.pages, begun_at, incomplete: reading.incomplete })
    }
}
