//! Whether today's key reaches the API workspace that the ids and open claims were made in. Pure. As long as nothing shows
//! that, nothing is created, deleted or believed to be gone; one id that was made under a former key and is listed with
//! today's shows it for all that were made under that key.

use std::collections::BTreeSet;

use crate::crd::WorkspaceStatus;

/// Most digests that are remembered of each sort; the schema's limit.
const REMEMBERED: usize = 16;
/// How many characters of a digest are printed, and have to be acknowledged.
const SHORT: usize = 12;

/// A connector of the workspace that has an id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bound {
    /// Its id at the API.
    pub id: String,
    /// The identity that it was made or last read under.
    pub identity: String,
    /// Whether something depends on it: an object that only observes depends on nothing.
    pub managed: bool,
}

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Evidence<'a> {
    /// Today's identity.
    pub today: &'a str,
    /// What the workspace's status says.
    pub status: &'a WorkspaceStatus,
    /// Its connectors.
    pub bound: &'a [Bound],
    /// The identities of the claims that its connectors have open.
    pub claims: &'a [String],
    /// The ids that today's key lists; none: there is no list.
    pub listed: Option<&'a BTreeSet<&'a str>>,
    /// The value of the annotation that acknowledges another API workspace.
    pub acknowledgement: Option<&'a str>,
}

/// What follows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Verdict {
    /// The identity to record.
    pub identity: Option<String>,
    /// Identities to record as those of former keys that reach the same API workspace as the recorded one.
    pub former: Vec<String>,
    /// Identities that are known to reach the same API workspace as today's key.
    pub known: Vec<String>,
    /// Identities that were given up, while something is still recorded under them.
    pub retired: Vec<String>,
    /// The acknowledgement that was acted on.
    pub acknowledged: Option<String>,
    /// What is in the way, where the identity counts as changed.
    pub changed: Option<Changed>,
    /// Ids that are given up with this look.
    pub given_up: Vec<String>,
}

/// What today's key did not show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    /// Ids.
    pub ids: Vec<String>,
    /// Open claims.
    pub claims: usize,
}

/// As much of a digest as is printed.
pub(in crate::controller) fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}

pub(super) fn judge(e: &Evidence<'_>) -> Verdict {
    let WorkspaceStatus { identity, former_identities, retired_identities, identity_acknowledged, .. } =
        e.status;
    // What former keys reach, the key that was recorded last reaches too. Another one has to list something that one of
    // them made, and then that speaks for all of them.
    let before = identity.iter().chain(former_identities).filter(|digest| *digest != e.today);
    let before = before.cloned().collect::<Vec<_>>();
    let together =
        identity.as_deref() == Some(e.today) || former_identities.iter().any(|digest| digest == e.today);
    let mut known = former_identities.clone();
    known.retain(|digest| together && digest != e.today);
    let mut retired = retired_identities.clone();
    retired.retain(|digest| {
        digest != e.today
            && (e.bound.iter().any(|bound| bound.identity == *digest) || e.claims.contains(digest))
    });
    // An annotation that is taken away may be set again.
    let consumed = identity_acknowledged.clone().filter(|value| e.acknowledgement == Some(value.as_str()));

    let unknown = |digest: &String, known: &[String], retired: &[String]| {
        digest != e.today && !known.contains(digest) && !retired.contains(digest)
    };
    for bound in e.bound {
        let listed = e.listed.is_some_and(|listed| listed.contains(bound.id.as_str()));
        if listed && unknown(&bound.identity, &known, &retired) {
            let all = if before.contains(&bound.identity) { before.as_slice() } else { &[] };
            let rest = all.iter().filter(|digest| **digest != bound.identity && !known.contains(digest));
            let rest = rest.cloned().collect::<Vec<_>>();
            known.insert(0, bound.identity.clone());
            known.extend(rest);
        }
    }
    known.truncate(REMEMBERED);
    let lost = e
        .bound
        .iter()
        .filter(|bound| bound.managed && unknown(&bound.identity, &known, &retired))
        .collect::<Vec<_>>();
    let claims = e.claims.iter().filter(|digest| unknown(digest, &known, &retired)).collect::<Vec<_>>();

    if lost.is_empty() && claims.is_empty() {
        let (identity, former) = match e.listed {
            // A key that was not accepted yet is nobody's identity.
            None => (identity.clone(), former_identities.clone()),
            Some(_) => (Some(e.today.to_owned()), known.clone()),
        };
        return Verdict {
            identity,
            former,
            known,
            retired,
            acknowledged: consumed,
            changed: None,
            given_up: Vec::new(),
        };
    }
    if e.listed.is_some() && consumed.is_none() && e.acknowledgement == Some(short(e.today)) {
        let mut gone = lost.iter().map(|bound| bound.identity.clone()).collect::<BTreeSet<_>>();
        gone.extend(claims.into_iter().cloned());
        // What was the same API workspace as the one that is given up goes with it.
        gone.extend(former_identities.iter().filter(|digest| *digest != e.today).cloned());
        gone.extend(known.drain(..));
        gone.extend(retired.drain(..));
        let managed = e.bound.iter().filter(|bound| bound.managed && gone.contains(&bound.identity));
        let mut given_up = managed.map(|bound| bound.id.clone()).collect::<Vec<_>>();
        given_up.sort();
        return Verdict {
            identity: Some(e.today.to_owned()),
            former: Vec::new(),
            known: Vec::new(),
            retired: gone.into_iter().take(REMEMBERED).collect(),
            acknowledged: Some(short(e.today).to_owned()),
            changed: None,
            given_up,
        };
    }
    let mut ids = lost.iter().map(|bound| bound.id.clone()).collect::<Vec<_>>();
    ids.sort();
    Verdict {
        identity: identity.clone(),
        changed: Some(Changed { ids, claims: claims.len() }),
        former: former_identities.clone(),
        known,
        retired,
        acknowledged: consumed,
        given_up: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old-digest-0001";
    const NEW: &str = "new-digest-0002";

    fn bound(id: &str, identity: &str) -> Bound {
        Bound { id: id.to_owned(), identity: identity.to_owned(), managed: true }
    }

    fn status() -> WorkspaceStatus {
        WorkspaceStatus { identity: Some(OLD.to_owned()), ..WorkspaceStatus::default() }
    }

    struct Case {
        status: WorkspaceStatus,
        bound: Vec<Bound>,
        claims: Vec<String>,
        listed: Option<Vec<&'static str>>,
        acknowledgement: Option<&'static str>,
    }

    impl Case {
        fn new(bound: Vec<Bound>, listed: &[&'static str]) -> Self {
            let listed = Some(listed.to_vec());
            Self { status: status(), bound, claims: Vec::new(), listed, acknowledgement: None }
        }

        fn judge(&self, today: &str) -> Verdict {
            let listed = self.listed.as_ref().map(|ids| ids.iter().copied().collect());
            judge(&Evidence {
                today,
                status: &self.status,
                bound: &self.bound,
                claims: &self.claims,
                listed: listed.as_ref(),
                acknowledgement: self.acknowledgement,
            })
        }

        fn then(&mut self, verdict: Verdict) {
            let Verdict { identity, former, retired, acknowledged, .. } = verdict;
            self.status.identity = identity;
            (self.status.former_identities, self.status.retired_identities) = (former, retired);
            self.status.identity_acknowledged = acknowledged;
        }
    }

    #[test]
    fn one_id_of_the_old_key_that_the_new_one_lists_speaks_for_all_of_that_key() {
        let case = Case::new(vec![bound("conn-1", OLD), bound("conn-2", OLD)], &["conn-2"]);
        let verdict = case.judge(NEW);
        assert_eq!((verdict.changed, verdict.identity.as_deref()), (None, Some(NEW)));
        assert_eq!(verdict.former, [OLD], "so that a 404 for the other one is believed");
    }

    #[test]
    fn a_key_that_lists_none_of_the_ids_counts_as_changed_and_is_not_recorded() {
        let case = Case::new(vec![bound("conn-1", OLD)], &["conn-9"]);
        let verdict = case.judge(NEW);
        assert_eq!(verdict.changed, Some(Changed { ids: vec!["conn-1".to_owned()], claims: 0 }));
        assert_eq!(verdict.identity.as_deref(), Some(OLD));
        assert_eq!(case.judge(OLD).changed, None, "the old key put back ends it");
    }

    #[test]
    fn an_open_claim_alone_waits_and_nothing_at_all_does_not() {
        let mut case = Case::new(Vec::new(), &[]);
        assert_eq!(case.judge(NEW).identity.as_deref(), Some(NEW));
        case.claims.push(OLD.to_owned());
        assert_eq!(case.judge(NEW).changed, Some(Changed { ids: Vec::new(), claims: 1 }));
    }

    #[test]
    fn without_a_list_nothing_is_shown_and_nothing_is_recorded() {
        let mut case = Case::new(vec![bound("conn-1", OLD)], &[]);
        case.listed = None;
        case.acknowledgement = Some("new-digest-0");
        assert!(case.judge(NEW).changed.is_some());
        case.bound.clear();
        assert_eq!(case.judge(NEW).identity.as_deref(), Some(OLD));
    }

    #[test]
    fn what_only_observes_holds_nothing_up_and_can_speak_for_the_others() {
        let observed = Bound { managed: false, ..bound("conn-1", OLD) };
        assert_eq!(Case::new(vec![observed.clone()], &[]).judge(NEW).changed, None);
        let case = Case::new(vec![observed, bound("conn-2", OLD)], &["conn-1"]);
        assert_eq!(case.judge(NEW).changed, None);
    }

    #[test]
    fn an_acknowledgement_names_one_digest_and_serves_once() {
        let mut case = Case::new(vec![bound("conn-1", OLD), bound("conn-2", OLD)], &[]);
        for wrong in ["new-digest", "old-digest-0", "new-digest-0002", ""] {
            case.acknowledgement = Some(wrong);
            assert!(case.judge(NEW).changed.is_some(), "{wrong:?}");
        }
        case.acknowledgement = Some(short(NEW));
        let verdict = case.judge(NEW);
        assert_eq!(verdict.given_up, ["conn-1", "conn-2"]);
        assert_eq!((verdict.changed.is_none(), verdict.retired.as_slice()), (true, &[OLD.to_owned()][..]));
        case.then(verdict);
        let again = case.judge(NEW);
        assert_eq!((again.given_up.len(), again.retired.len()), (0, 1), "until nothing is recorded under it");
        // All is under the new key, then the old one comes back, and then the new one again.
        case.bound = vec![bound("conn-8", NEW)];
        let there = case.judge(NEW);
        assert_eq!(there.retired, Vec::<String>::new());
        case.then(there);
        case.bound = vec![bound("conn-9", OLD)];
        assert!(case.judge(NEW).changed.is_some(), "the annotation that still stands there served already");
        case.acknowledgement = None;
        let without = case.judge(NEW);
        case.then(without);
        case.acknowledgement = Some(short(NEW));
        assert_eq!(case.judge(NEW).given_up, ["conn-9"], "taken away and set again, it is a new one");
    }

    #[test]
    fn an_acknowledgement_gives_up_what_the_old_key_had_inherited() {
        let mut case = Case::new(vec![bound("conn-1", OLD), bound("conn-0", "older")], &[]);
        case.status.former_identities = vec!["older".to_owned()];
        case.acknowledgement = Some(short(NEW));
        let verdict = case.judge(NEW);
        assert_eq!(verdict.retired, [OLD, "older"]);
        assert_eq!(verdict.given_up, ["conn-0", "conn-1"]);
    }

    #[test]
    fn what_former_keys_reach_says_nothing_of_a_third_key_that_lists_none_of_it() {
        let mut case = Case::new(vec![bound("conn-1", OLD)], &["conn-1"]);
        let verdict = case.judge(NEW);
        case.then(verdict);
        case.listed = Some(Vec::new());
        let verdict = case.judge("third-digest-03");
        assert_eq!(verdict.changed, Some(Changed { ids: vec!["conn-1".to_owned()], claims: 0 }));
        assert_eq!(verdict.known, Vec::<String>::new(), "a 404 for it is not believed");
        case.then(verdict);
        assert_eq!(case.judge(NEW).known, [OLD], "the key put back still reaches what it reached");
        case.listed = Some(vec!["conn-1"]);
        let verdict = case.judge("third-digest-03");
        assert_eq!((verdict.changed, verdict.known), (None, vec![OLD.to_owned(), NEW.to_owned()]));
    }

    #[test]
    fn a_workspace_restored_without_status_takes_the_same_key_for_the_same() {
        let mut case = Case::new(vec![bound("conn-1", OLD)], &["conn-1"]);
        case.status = WorkspaceStatus::default();
        assert_eq!(case.judge(OLD).changed, None);
        case.listed = Some(Vec::new());
        assert!(case.judge(NEW).changed.is_some(), "another key has to show something first");
    }
}
