//! Searches one object, chunk by chunk, in memory that does not grow with the object or with what is in it.
//!
//! Text in any ASCII-compatible encoding is searched; bytes that are no valid UTF-8 are just bytes that
//! no value contains. What is binary (a known file signature, or a NUL byte at the beginning) is skipped
//! and counted as such: archives, Parquet and the like are not unpacked, UTF-16 is not read.

use super::chunks::{Chunk, OVERLAP};
use super::detect::{self, Category, FieldContext};
use crate::store::{Finding, FoundObject};

/// Findings of one object whose places are kept. All are counted.
const KEPT_FINDINGS: usize = 1000;

/// Bytes at the beginning that decide whether an object is binary.
const SNIFF: usize = 8192;

/// Beginnings of formats whose content is not text.
const SIGNATURES: [&[u8]; 12] = [
    b"\x1f\x8b",
    b"PK\x03\x04",
    b"%PDF-",
    b"PAR1",
    b"\x28\xb5\x2f\xfd",
    b"Obj\x01",
    b"ORC",
    b"BZh",
    b"\xfd7zXZ",
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
];

/// The search of one object.
pub(crate) struct ObjectSearch {
    key: String,
    fields: Option<FieldContext>,
    /// Line ends before the first byte of the next chunk.
    lines: u64,
    counts: [u64; Category::ALL.len()],
    findings: Vec<Finding>,
}

impl ObjectSearch {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            fields: None,
            lines: 0,
            counts: [0; Category::ALL.len()],
            findings: Vec::new(),
        }
    }

    /// Searches a chunk. Answers false when the object is binary, which the first chunk tells.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) -> bool {
        let text = &chunk.bytes[..];
        if self.fields.is_none() && is_binary(text) {
            return false;
        }
        let fields = self.fields.get_or_insert_with(|| FieldContext::of(&self.key, text));
        let (mut counted_to, mut line) = (0, self.lines + 1);
        let (counts, findings) = (&mut self.counts, &mut self.findings);
        detect::scan(text, fields, chunk.accept.clone(), |found| {
            counts[found.category as usize] += 1;
            if findings.len() < KEPT_FINDINGS {
                line += newlines(&text[counted_to..found.start]);
                counted_to = found.start;
                findings.push(Finding {
                    category: found.category.as_str(),
                    classifier: found.category.classifier(),
                    confidence: found.confidence,
                    offset: chunk.base + found.start as u64,
                    line,
                    field: found.field.map(|name| String::from_utf8_lossy(name).into_owned()),
                });
            }
        });
        self.lines += newlines(&text[..text.len().saturating_sub(OVERLAP)]);
        true
    }

    /// What was found in all chunks.
    pub(crate) fn finish(self) -> FoundObject {
        let seen = || Category::ALL.into_iter().zip(self.counts).filter(|(_, n)| *n > 0);
        FoundObject {
            counts: seen().map(|(category, n)| (category.as_str(), n)).collect(),
            sensitivity: seen().map(|(category, _)| category.sensitivity()).max().unwrap_or(0),
            findings: self.findings,
        }
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

fn is_binary(first: &[u8]) -> bool {
    SIGNATURES.iter().any(|signature| first.starts_with(signature))
        || memchr::memchr(0, &first[..first.len().min(SNIFF)]).is_some()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream;

    use super::super::chunks::{CHUNK, Chunks};
    use super::*;

    async fn search(key: &str, whole: &[u8]) -> Option<FoundObject> {
        let pieces: Vec<_> = whole.chunks(100_000).map(|p| Ok(Bytes::copy_from_slice(p))).collect();
        let mut chunks = Chunks::new(stream::iter(pieces), whole.len() as u64);
        let mut search = ObjectSearch::new(key);
        while let Some(chunk) = chunks.next().await.unwrap() {
            if !search.chunk(&chunk) {
                return None;
            }
            chunks.recycle(chunk.bytes);
        }
        Some(search.finish())
    }

    #[tokio::test]
    async fn a_value_across_the_end_of_a_chunk_is_found_once_wherever_it_lies() {
        let value = "4111 1111 1111 1111";
        for shift in (0..600).step_by(13) {
            let before = CHUNK - 560 + shift;
            let mut text = vec![b'.'; before];
            text.extend_from_slice(b" ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(&b" \n"[..]);
            text.extend_from_slice(&vec![b'.'; 2000]);
            let found = search("x.txt", &text).await.unwrap();
            assert_eq!(found.total(), 1, "{shift}");
            assert_eq!(found.findings[0].offset, before as u64 + 1, "{shift}");
        }
    }

    #[tokio::test]
    async fn line_and_column_of_a_finding_are_right_in_a_later_chunk() {
        let mut text = String::from("name,ssn\n");
        while text.len() < CHUNK + 100_000 {
            text.push_str("somebody,none\n");
        }
        let lines = text.lines().count() as u64;
        text.push_str("Ann,536-22-4417\n");
        let found = search("people.csv", text.as_bytes()).await.unwrap();
        assert_eq!(found.total(), 1);
        let finding = &found.findings[0];
        assert_eq!(
            (finding.line, finding.field.as_deref(), finding.confidence),
            (lines + 1, Some("ssn"), 95)
        );
        assert_eq!(finding.offset, text.find("536-22").unwrap() as u64);
    }

    #[tokio::test]
    async fn all_findings_are_counted_and_a_bounded_number_keeps_its_place() {
        let text = "a@example.com\n".repeat(5000);
        let found = search("x.txt", text.as_bytes()).await.unwrap();
        assert_eq!(found.counts, [("EMAIL", 5000)]);
        assert_eq!(found.findings.len(), KEPT_FINDINGS);
        assert_eq!(found.sensitivity, 50);
    }

    #[tokio::test]
    async fn binary_objects_are_told_apart_and_odd_bytes_in_text_are_no_obstacle() {
        assert!(search("x.gz", b"\x1f\x8b\x08 536-22-4417").await.is_none());
        assert!(search("x.bin", b"abc\0 536-22-4417").await.is_none());
        let latin1 = b"M\xfcller 536-22-4417\n";
        assert_eq!(search("x.txt", latin1).await.unwrap().total(), 1);
    }
}
