//! Page sizes and cursors. A cursor is unpadded base64url of `{"last_id": …}`; what it means is this server's affair.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use connectors_api::{Cursor, Pagination};
use serde::{Deserialize, Serialize};

use super::error::ApiError;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inside {
    last_id: String,
}

/// The page that a caller asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PageRequest {
    pub(super) limit: u32,
    /// Id after which the page begins; empty for the first page.
    pub(super) after: String,
}

impl PageRequest {
    /// Reads the two parameters, as they stand in the query.
    pub(super) fn read(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, ApiError> {
        let limit = match limit {
            None => Pagination::DEFAULT_LIMIT,
            Some(text) => {
                text.parse().ok().filter(|n| (1..=Pagination::MAX_LIMIT).contains(n)).ok_or_else(|| {
                    ApiError::invalid(
                        "limit",
                        format!("limit must be a number from 1 to {}", Pagination::MAX_LIMIT),
                    )
                })?
            }
        };
        let after = cursor.map(decode).transpose()?.unwrap_or_default();
        Ok(Self { limit, after })
    }

    /// Cuts the one item too many off, which tells that there is more.
    pub(super) fn cut<T>(&self, items: &mut Vec<T>, id: impl Fn(&T) -> &str) -> Pagination {
        let has_more = items.len() > self.limit as usize;
        items.truncate(self.limit as usize);
        let last = items.last().filter(|_| has_more);
        Pagination { limit: self.limit, has_more, next_cursor: last.and_then(|item| encode(id(item))) }
    }
}

fn encode(last_id: &str) -> Option<Cursor> {
    let inside = serde_json::to_vec(&Inside { last_id: last_id.to_owned() }).ok()?;
    Cursor::parse(URL_SAFE_NO_PAD.encode(inside)).ok()
}

fn decode(cursor: &str) -> Result<String, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| ApiError::bad_cursor())?;
    let Inside { last_id } = serde_json::from_slice(&bytes).map_err(|_| ApiError::bad_cursor())?;
    if !last_id.starts_with("conn-") || last_id.len() > 64 {
        return Err(ApiError::bad_cursor());
    }
    Ok(last_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_the_samples_show_and_reads_back() {
        let cursor = encode("conn-7h2k9q").unwrap();
        assert_eq!(cursor.as_str(), "eyJsYXN0X2lkIjoiY29ubi03aDJrOXEifQ");
        assert_eq!(decode(cursor.as_str()).unwrap(), "conn-7h2k9q");
    }

    #[test]
    fn whatever_else_is_no_cursor() {
        let other = |json: &str| URL_SAFE_NO_PAD.encode(json);
        for bad in [
            "%%%",
            "abc",
            &other("{}"),
            &other(r#"{"last_id":7}"#),
            &other(r#"{"last_id":"x"}"#),
            &other("["),
        ] {
            assert_eq!(decode(bad).unwrap_err().code, "INVALID_CURSOR", "{bad}");
        }
    }

    #[test]
    fn the_last_page_has_no_cursor() {
        let page = PageRequest::read(Some("2"), None).unwrap();
        let mut items = vec!["conn-a", "conn-b"];
        assert_eq!(page.cut(&mut items, |i| i), Pagination { limit: 2, has_more: false, next_cursor: None });
        let mut items = vec!["conn-a", "conn-b", "conn-c"];
        let pagination = page.cut(&mut items, |i| i);
        assert_eq!((items.len(), pagination.has_more), (2, true));
        assert_eq!(decode(pagination.next_cursor.unwrap().as_str()).unwrap(), "conn-b");
    }

    #[test]
    fn a_limit_outside_of_1_to_100_is_refused() {
        for bad in ["0", "101", "-1", "ten", "1.5", ""] {
            let error = PageRequest::read(Some(bad), None).unwrap_err();
            assert_eq!(error.message, "limit must be a number from 1 to 100", "{bad}");
        }
        assert_eq!(PageRequest::read(None, None).unwrap().limit, 20);
        assert_eq!(PageRequest::read(Some("100"), None).unwrap().limit, 100);
    }
}
