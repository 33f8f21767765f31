//! An object as chunks of bounded size that overlap, so that no value is cut in two and none is seen twice.
//!
//! Chunks are 4 MiB and share 512 bytes with the next one, as the published scanner's do. Half of the
//! overlap is room after a value, half is context before one: a value counts in the one chunk in whose
//! `accept` range it begins. The ranges of an object's chunks touch and never overlap.

use std::ops::Range;

use bytes::Bytes;
use futures::{Stream, StreamExt};

use crate::storage::StorageError;

/// Most bytes in a chunk, the overlap included. A worker holds one chunk and one piece from the network.
pub(crate) const CHUNK: usize = 4 * 1024 * 1024;

/// Bytes that a chunk repeats of the one before.
pub(crate) const OVERLAP: usize = 512;

/// A stretch of an object.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// Place of the first byte in the object.
    pub(crate) base: u64,
    /// Where a value may begin to count in this chunk.
    pub(crate) accept: Range<usize>,
}

/// Cuts a stream into chunks.
pub(crate) struct Chunks<S> {
    stream: S,
    /// Received, but not in a chunk yet.
    pending: Bytes,
    buffer: Vec<u8>,
    base: u64,
    from: usize,
    size: usize,
    ended: bool,
}

impl<S> Chunks<S>
where
    S: Stream<Item = Result<Bytes, StorageError>> + Unpin,
{
    /// `size_hint` is what the listing said; small objects get small buffers.
    pub(crate) fn new(stream: S, size_hint: u64) -> Self {
        Self::with_chunk_size(stream, size_hint, CHUNK)
    }

    fn with_chunk_size(stream: S, size_hint: u64, size: usize) -> Self {
        let capacity = usize::try_from(size_hint).unwrap_or(size).min(size);
        Self {
            stream,
            pending: Bytes::new(),
            buffer: Vec::with_capacity(capacity),
            base: 0,
            from: 0,
            size,
            ended: false,
        }
    }

    /// The next chunk. Give it back by [`recycle`](Self::recycle) before asking for another one.
    pub(crate) async fn next(&mut self) -> Result<Option<Chunk>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        while self.buffer.len() < self.size {
            if self.pending.is_empty() && !self.receive().await? {
                break;
            }
            let take = self.pending.len().min(self.size - self.buffer.len());
            self.buffer.extend_from_slice(&self.pending.split_to(take));
        }
        // A full buffer may also be the last one.
        self.ended = self.pending.is_empty() && !self.receive().await?;
        let bytes = std::mem::take(&mut self.buffer);
        let to = if self.ended { bytes.len() } else { bytes.len() - OVERLAP / 2 };
        Ok((!bytes.is_empty()).then_some(Chunk { base: self.base, accept: self.from..to, bytes }))
    }

    /// Takes a chunk's buffer back, with the bytes that the next one repeats.
    pub(crate) fn recycle(&mut self, mut bytes: Vec<u8>) {
        if self.ended {
            return;
        }
        let kept = bytes.len() - OVERLAP;
        bytes.copy_within(kept.., 0);
        bytes.truncate(OVERLAP);
        self.base += kept as u64;
        self.from = OVERLAP / 2;
        self.buffer = bytes;
    }

    /// Receives something. False at the end.
    async fn receive(&mut self) -> Result<bool, StorageError> {
        while self.pending.is_empty() {
            match self.stream.next().await {
                Some(piece) => self.pending = piece?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// Cuts `length` bytes that arrive in pieces and answers what each chunk accepted, as places in the object.
    async fn accepted(length: usize, piece: usize, size: usize) -> Vec<(Range<u64>, Vec<u8>)> {
        let whole: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let pieces: Vec<_> = whole.chunks(piece).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        let mut chunks = Chunks::with_chunk_size(stream::iter(pieces), length as u64, size);
        let mut out = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            assert!(chunk.bytes.len() <= size);
            let base = usize::try_from(chunk.base).unwrap();
            assert_eq!(chunk.bytes, whole[base..base + chunk.bytes.len()]);
            let range = chunk.base + chunk.accept.start as u64..chunk.base + chunk.accept.end as u64;
            out.push((range, chunk.bytes[chunk.accept.clone()].to_vec()));
            chunks.recycle(chunk.bytes);
        }
        out
    }

    #[tokio::test]
    async fn the_accepted_ranges_cover_the_object_once() {
        for length in [1, 255, 511, 512, 513, 1023, 1024, 1025, 1536, 5000, 10_000] {
            for piece in [1, 7, 512, 1024, 100_000] {
                let ranges = accepted(length, piece, 1024).await;
                let mut next = 0;
                for (range, _) in &ranges {
                    assert_eq!(range.start, next, "{length} {piece}");
                    next = range.end;
                }
                assert_eq!(next, length as u64, "{length} {piece}");
            }
        }
    }

    #[tokio::test]
    async fn an_empty_object_has_no_chunk() {
        assert!(accepted(0, 1, 1024).await.is_empty());
    }

    #[tokio::test]
    async fn an_error_of_the_stream_comes_through() {
        use crate::storage::Cause;
        let broken =
            stream::iter([Ok(Bytes::from_static(b"abc")), Err(StorageError::new(Cause::Timeout, "slow"))]);
        let error = Chunks::new(broken, 10).next().await.unwrap_err();
        assert_eq!(error.cause, Cause::Timeout);
    }
}
