//! Connectors that a create made after all, when it had been given up for lost and another one taken its place. They are told
//! of for as long as they are there, and never deleted; what is looked out for is forgotten a day after the create.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::{AnyWorkspace, orphans};
use crate::controller::registry::Entry;
use crate::controller::{Context, ObjectKey, connector};
use crate::crd::{Claim, ClaimKind, WorkspaceStatus};
use crate::remote::{Listing, Remote};

/// How long after its claim a lost create is looked out for.
const REMEMBERED: Duration = Duration::from_hours(24);

/// What a list says of the creates that were given up for lost.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lookout {
    /// The connectors that appeared, in words.
    pub twins: Vec<String>,
    /// Nonces of the creates of which nothing is expected any more.
    pub forgotten: Vec<String>,
}

/// The object that a create was sent for.
#[derive(Clone, Debug, PartialEq)]
enum Owner {
    /// It has this connector.
    Has(String),
    /// It has none, and finds by itself what is there.
    HasNone,
    /// It is gone.
    Gone,
}

/// Looks in a complete list that is believed.
pub(super) fn look_out(
    workspace: &AnyWorkspace,
    entry: &Entry,
    remote: &Remote,
    listing: &Listing,
    ctx: &Context,
) -> Lookout {
    let Some(status) = workspace.record().filter(|status| !status.lost_creates.is_empty()) else {
        return Lookout::default();
    };
    // Nobody's UID is empty: what its own object has is taken, too.
    let taken =
        |claim: &Claim| connector::taken(listing.named(&claim.subject).map(|it| it.id.as_str()), "", ctx);
    let reached = |claim: &Claim| {
        !entry.retired.contains(&claim.identity) && orphans::reaches(claim, workspace, entry, remote)
    };
    look(status, listing, crate::clock::now(), reached, taken, |claim| owner(claim, ctx))
}

fn owner(claim: &Claim, ctx: &Context) -> Owner {
    let key = ObjectKey { namespace: claim.namespace.clone(), name: claim.name.clone() };
    let found = ctx.caches.connectors.get(&key).and_then(|found| found.0.ok());
    match found.filter(|found| found.metadata.uid.as_ref() == Some(&claim.uid)) {
        None => Owner::Gone,
        Some(found) => found
            .status
            .as_ref()
            .and_then(|status| status.connector_id.clone())
            .map_or(Owner::HasNone, Owner::Has),
    }
}

fn look(
    status: &WorkspaceStatus,
    listing: &Listing,
    now: Timestamp,
    reached: impl Fn(&Claim) -> bool,
    taken: impl Fn(&Claim) -> BTreeSet<String>,
    owner: impl Fn(&Claim) -> Owner,
) -> Lookout {
    let (mut told, mut lookout) = (BTreeSet::new(), Lookout::default());
    for claim in &status.lost_creates {
        // What another create under that name makes is not told apart from it before its id is put down.
        let under_way = |open: &Claim| open.kind == ClaimKind::Connector && open.subject == claim.subject;
        let ids = if reached(claim) && !status.claims.iter().any(under_way) {
            connector::candidates(claim, listing, &taken(claim))
        } else {
            Vec::new()
        };
        let age = Duration::try_from(now.duration_since(claim.claimed_at)).unwrap_or_default();
        if ids.is_empty() && age > REMEMBERED {
            lookout.forgotten.push(claim.nonce.clone());
        }
        let whose = format!("Connector {}/{}", claim.namespace, claim.name);
        let beside = match owner(claim) {
            Owner::HasNone => continue,
            Owner::Has(own) => format!("{whose}, which has {own}"),
            Owner::Gone => format!("{whose}, which is gone"),
        };
        // Two lost creates of one object may both have made it.
        let new = ids.into_iter().filter(|id| told.insert(id.clone())).collect::<Vec<_>>();
        lookout.twins.extend(new.into_iter().map(|id| format!("{id} beside that of {beside}")));
    }
    lookout
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use connectors_api::wire::ConnectorItem;
    use jiff::SignedDuration;
    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::remote::Item;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn claim(nonce: &str, claimed_at: Timestamp) -> Claim {
        serde_json::from_value(json!({ "kind": "Connector", "namespace": "team", "name": "lake", "uid": "u",
            "nonce": nonce, "claimedAt": claimed_at, "identity": "i", "subject": "team.lake", "provider": "aws",
            "config": "{\"region\":\"eu-west-1\"}", "knownIds": ["conn-known"] }))
        .unwrap()
    }

    fn listed(id: &str, region: &str, created_at: Timestamp) -> Arc<Item> {
        let item = json!({ "id": id, "name": "team.lake", "provider": "aws", "status": "active",
            "config": { "region": region }, "created_at": created_at });
        Arc::new(Item::from(serde_json::from_value::<ConnectorItem>(item).unwrap()))
    }

    fn list(items: &[Arc<Item>]) -> Listing {
        Listing::new(Instant::now(), items.to_vec(), Vec::new(), None)
    }

    /// A look for what was lost under the key `i`, when `conn-2` has taken its place.
    fn seen(status: &WorkspaceStatus, listing: &Listing, now: Timestamp, owner: &Owner) -> Lookout {
        let own = || BTreeSet::from(["conn-2".to_owned()]);
        look(status, listing, now, |claim| claim.identity == "i", |_| own(), |_| owner.clone())
    }

    fn lost() -> WorkspaceStatus {
        WorkspaceStatus {
            lost_creates: vec![claim("n-1", at(0)), claim("n-2", at(60))],
            ..WorkspaceStatus::default()
        }
    }

    fn own() -> Owner {
        Owner::Has("conn-2".to_owned())
    }

    #[test]
    fn a_connector_that_appears_late_is_told_of_once_with_the_one_that_took_its_place() {
        let listing = list(&[listed("conn-1", "eu-west-1", at(300)), listed("conn-2", "eu-west-1", at(200))]);
        let looked = seen(&lost(), &listing, at(400), &own());
        assert_eq!(looked.twins, ["conn-1 beside that of Connector team/lake, which has conn-2"]);
        assert_eq!(looked.forgotten, Vec::<String>::new());
        let orphan = seen(&lost(), &listing, at(400), &Owner::Gone);
        assert_eq!(orphan.twins, ["conn-1 beside that of Connector team/lake, which is gone"]);
    }

    #[test]
    fn what_was_there_before_or_is_another_or_belongs_to_somebody_is_none() {
        let listing = list(&[
            listed("conn-2", "eu-west-1", at(200)),
            listed("conn-known", "eu-west-1", at(0)),
            listed("conn-older", "eu-west-1", at(-60)),
            listed("conn-other", "eu-west-2", at(300)),
        ]);
        assert_eq!(seen(&lost(), &listing, at(400), &own()), Lookout::default());
    }

    #[test]
    fn nothing_is_said_while_it_may_yet_be_taken_or_in_the_list_of_another_key() {
        let listing = list(&[listed("conn-1", "eu-west-1", at(300))]);
        assert_eq!(seen(&lost(), &listing, at(400), &Owner::HasNone), Lookout::default());
        let creating = WorkspaceStatus { claims: vec![claim("n-3", at(350))], ..lost() };
        assert_eq!(seen(&creating, &listing, at(400), &own()), Lookout::default());
        let mut elsewhere = lost();
        elsewhere.lost_creates.iter_mut().for_each(|claim| claim.identity = "j".to_owned());
        assert_eq!(seen(&elsewhere, &listing, at(400), &own()), Lookout::default());
    }

    #[test]
    fn it_is_forgotten_after_a_day_but_not_while_its_twin_is_there() {
        let day = SignedDuration::try_from(REMEMBERED).unwrap();
        let there = list(&[listed("conn-1", "eu-west-1", at(300))]);
        let (nothing, late) = (list(&[]), at(0) + day + SignedDuration::from_secs(1));
        assert_eq!(seen(&lost(), &nothing, at(0) + day, &own()).forgotten, Vec::<String>::new());
        assert_eq!(seen(&lost(), &nothing, late, &own()).forgotten, ["n-1"]);
        let looked = seen(&lost(), &there, late, &own());
        assert_eq!((looked.twins.len(), looked.forgotten.len()), (1, 0));
    }
}
