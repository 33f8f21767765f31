//! A complete list of connectors. What it has in common with what was seen before is shared with that, and connectors are found
//! by their name without walking through all of them.

use std::sync::Arc;

use connectors_api::wire::ConnectorId;
use tokio::time::Instant;

use super::{Alarm, Item};

/// A complete list, shared by those who asked before it was begun.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Begin, on the monotonic clock.
    pub begun: Instant,
    /// The connectors that look different from before.
    pub changed: Arc<[ConnectorId]>,
    /// Whether it is too short to be believed.
    pub alarm: Option<Alarm>,
    /// The connectors, in the order of their names.
    items: Arc<[Arc<Item>]>,
}

impl Listing {
    /// A list of these connectors.
    pub fn new(
        begun: Instant,
        mut items: Vec<Arc<Item>>,
        changed: Vec<ConnectorId>,
        alarm: Option<Alarm>,
    ) -> Self {
        items.sort_unstable_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Self { begun, changed: changed.into(), alarm, items: items.into() }
    }

    /// All of them.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().map(AsRef::as_ref)
    }

    /// Those of that name.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Item> {
        let first = self.items.partition_point(|item| &*item.name < name);
        self.items[first..].iter().map(AsRef::as_ref).take_while(move |item| &*item.name == name)
    }

    /// Whether it shows that connector.
    pub fn shows(&self, id: &ConnectorId) -> bool {
        self.items().any(|item| item.id == *id)
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.items.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn connectors_are_found_by_their_whole_name_and_no_other() {
        let items = [("conn-3", "b"), ("conn-1", "ab"), ("conn-2", "b"), ("conn-4", "bc"), ("conn-5", "")]
            .map(|(id, name)| {
                let item = json!({"id": id, "name": name, "provider": "aws", "status": "active"});
                Arc::new(Item::from(
                    serde_json::from_value::<connectors_api::wire::ConnectorItem>(item).unwrap(),
                ))
            });
        let listing = Listing::new(Instant::now(), items.to_vec(), Vec::new(), None);
        let named = |name| listing.named(name).map(|item| item.id.as_str().to_owned()).collect::<Vec<_>>();
        assert_eq!(named("b"), ["conn-2", "conn-3"]);
        assert_eq!(named("bc"), ["conn-4"]);
        assert_eq!(named(""), ["conn-5"]);
        assert!(named("a").is_empty() && named("c").is_empty());
        assert!(listing.shows(&ConnectorId::parse("conn-4").unwrap()));
        assert_eq!((listing.count(), listing.items().count()), (5, 5));
    }
}
