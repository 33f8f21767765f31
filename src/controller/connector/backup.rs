//! The annotation that a backup keeps of a connector: enough to find it again and to tell a copy from the original. Users can
//! write annotations, so one proves something only where its seal was made with the workspace's key.

use std::fmt;

use connectors_api::wire::ConnectorId;
use serde::{Deserialize, Serialize};

use super::desired::digest;
use super::observed::Object;
use crate::crd::{ConnectorStatus, Origin};

/// What stands in the annotation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct BackupRecord {
    /// The connector's id.
    pub id: String,
    /// How the operator came to it.
    pub origin: Option<Origin>,
    /// The identity that it was last read under.
    pub identity: Option<String>,
    /// Namespace and name of the object that it belonged to.
    pub object: String,
    /// UID of that object.
    pub uid: String,
    /// Shows that the operator wrote all this.
    #[serde(default)]
    pub seal: String,
}

impl BackupRecord {
    /// The record of a connector that belongs to `object`.
    pub(super) fn of(object: &Object, status: &ConnectorStatus, id: &ConnectorId, sealer: &Sealer) -> Self {
        let record = Self {
            id: id.to_string(),
            origin: status.origin,
            identity: status.identity.clone(),
            object: title(object),
            uid: object.uid.clone(),
            seal: String::new(),
        };
        Self { seal: sealer.seal(&record), ..record }
    }

    /// What `object` was annotated with, where it can be read. Longer than ours ever is, it is not ours.
    pub(super) fn parse(object: &Object) -> Option<Self> {
        let text = object.copy.as_ref().filter(|text| text.len() <= 2048)?;
        serde_json::from_str(text).ok()
    }

    /// The annotation's value.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether it was written for an object of that namespace and name, and not copied from another one.
    pub(super) fn belongs_to(&self, object: &Object) -> bool {
        self.object == title(object)
    }
}

fn title(object: &Object) -> String {
    format!("{}/{}", object.namespace, object.name)
}

/// Makes the seals of one credential at one endpoint.
#[derive(Clone, PartialEq)]
pub(super) struct Sealer(String);

impl Sealer {
    /// From what only the operator can derive from the API key.
    pub(super) fn new(credential: &str) -> Self {
        Self(credential.to_owned())
    }

    /// Whether this credential sealed `record`.
    pub(super) fn made(&self, record: &BackupRecord) -> bool {
        record.seal == self.seal(record)
    }

    fn seal(&self, record: &BackupRecord) -> String {
        let BackupRecord { id, origin, identity: _, object, uid, seal: _ } = record;
        let origin = origin.map_or("", |origin| match origin {
            Origin::Created => "Created",
            Origin::Adopted => "Adopted",
        });
        digest(&["slimio backup v1", &self.0, id, origin, object, uid])
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(sealer: &Sealer) -> BackupRecord {
        let object = Object {
            namespace: "team".to_owned(),
            name: "lake".to_owned(),
            uid: "uid-1".to_owned(),
            ..Object::default()
        };
        let status = ConnectorStatus { origin: Some(Origin::Created), ..ConnectorStatus::default() };
        BackupRecord::of(&object, &status, &ConnectorId::parse("conn-1").unwrap(), sealer)
    }

    #[test]
    fn a_seal_holds_for_what_was_sealed_with_that_key_and_for_nothing_else() {
        let sealer = Sealer::new("one");
        let record = sealed(&sealer);
        assert!(sealer.made(&record));
        assert!(!Sealer::new("another").made(&record));
        let change = |change: fn(&mut BackupRecord)| {
            let mut changed = record.clone();
            change(&mut changed);
            sealer.made(&changed)
        };
        assert!(!change(|it| it.id = "conn-2".to_owned()));
        assert!(!change(|it| it.origin = Some(Origin::Adopted)));
        assert!(!change(|it| it.object = "team/pond".to_owned()));
        assert!(!change(|it| it.seal.clear()));
        assert!(change(|it| it.identity = None), "the identity says which key, and a seal is of one key");
        assert_eq!(format!("{sealer:?}"), "Sealer");
    }

    #[test]
    fn what_is_no_record_of_ours_is_none() {
        let with =
            |text: &str| BackupRecord::parse(&Object { copy: Some(text.to_owned()), ..Object::default() });
        let record = sealed(&Sealer::new("one"));
        assert_eq!(with(&record.text()), Some(record.clone()));
        for bad in ["", "conn-1", "{}", "[]", r#"{"id": 7}"#] {
            assert_eq!(with(bad), None, "{bad}");
        }
        assert_eq!(with(&BackupRecord { uid: "u".repeat(3000), ..record }.text()), None);
    }
}
