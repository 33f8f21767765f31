//! Watches: passed on as they come, or event by event where one of them is to go wrong.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};

use super::KubeFault;

/// What is done to a watch's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meddling {
    Swallow(usize),
    Hold(usize, Duration),
    Cut(usize),
}

impl Meddling {
    pub(super) fn of(fault: &KubeFault) -> Option<Self> {
        match *fault {
            KubeFault::Swallows(after) => Some(Self::Swallow(after)),
            KubeFault::Holds(after, wait) => Some(Self::Hold(after, wait)),
            KubeFault::CutAfter(after) => Some(Self::Cut(after)),
            _ => None,
        }
    }
}

/// The lines of an answer: an event each, with its newline.
fn lines<S, E>(chunks: S) -> impl Stream<Item = Bytes> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Send + 'static,
{
    stream::unfold((chunks, BytesMut::new()), |(mut chunks, mut rest)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = rest.split_to(end + 1).freeze();
                return Some((line, (chunks, rest)));
            }
            // An event that was cut off is no event.
            rest.extend_from_slice(&chunks.next().await?.ok()?);
        }
    })
}

/// The events with one of them gone wrong. Bookmarks are not counted, and pass.
pub(super) fn meddled<S, E>(chunks: S, meddling: Meddling) -> impl Stream<Item = Bytes> + Send
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
    E: Send + 'static,
{
    stream::unfold((Box::pin(lines(chunks)), 0_usize), move |(mut events, mut seen)| async move {
        loop {
            let event = events.next().await?;
            if event.starts_with(br#"{"type":"BOOKMARK""#) {
                return Some((event, (events, seen)));
            }
            let nth = seen;
            seen += 1;
            match meddling {
                Meddling::Swallow(after) if nth == after => continue,
                Meddling::Cut(after) if nth == after => return None,
                Meddling::Hold(after, wait) if nth == after => tokio::time::sleep(wait).await,
                _ => {}
            }
            return Some((event, (events, seen)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn of(meddling: Meddling) -> String {
        let chunks = ["{\"type\":\"ADDED\"", "}\n{\"type\":\"BOOKMARK\"}\nb\nc\n", "cut of"];
        let chunks = stream::iter(chunks.map(|text| Ok::<_, ()>(Bytes::from_static(text.as_bytes()))));
        let events: Vec<Bytes> = meddled(chunks, meddling).collect().await;
        events.iter().map(|event| String::from_utf8_lossy(event).replace('\n', "|")).collect()
    }

    #[tokio::test]
    async fn one_event_goes_wrong_and_the_others_pass_whole() {
        let (added, mark) = ("{\"type\":\"ADDED\"}|", "{\"type\":\"BOOKMARK\"}|");
        assert_eq!(of(Meddling::Swallow(1)).await, format!("{added}{mark}c|"));
        assert_eq!(of(Meddling::Cut(1)).await, format!("{added}{mark}"));
        assert_eq!(of(Meddling::Hold(1, Duration::from_millis(1))).await, format!("{added}{mark}b|c|"));
    }
}
