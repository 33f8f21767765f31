//! Stories told step by step: what the simulation once found by lot, in the very order in which it went wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::wire::{Op, Server};
use super::world::{World, in_virtual_time};
use crate::controller::ledger::{LEASE, SETTLED_AFTER};
use crate::crd::Claim;

const LAKE: &str = "/apis/slim.io/v1alpha1/namespaces/team/connectors/lake";

impl World {
    /// Somebody applies the connector `lake`.
    fn apply_lake(&mut self) {
        let lake = json!({ "apiVersion": "slim.io/v1alpha1", "kind": "Connector", "metadata": { "name": "lake" },
            "spec": { "workspaceRef": { "kind": "Workspace", "name": "ws" }, "deletionPolicy": "Delete",
                "aws": { "roleArn": "arn:aws:iam::123456789012:role/SlimIOScanner", "externalId": "ext-12345678",
                    "region": "eu-west-1" }, "scope": { "buckets": ["first"] } } });
        let answer = self.cluster.handle("POST", LAKE.trim_end_matches("/lake"), lake, crate::clock::now());
        assert_eq!(answer.code, 201, "{:?}", answer.body);
    }

    /// A replica hears of everything that its watches have to tell.
    fn hear_all(&mut self, replica: usize) {
        while let Some(resource) = self.replicas[replica].behind(&self.cluster).first().copied() {
            self.replicas[replica].hear(resource, &self.cluster);
        }
    }

    async fn begin(&mut self, replica: usize, resource: &str, name: &str) {
        let key = (resource.to_owned(), "team".to_owned(), name.to_owned());
        self.hear_all(replica);
        self.replicas[replica].begin(&key);
        self.settle().await;
    }

    /// What a replica asked is answered in turn, until it waits for an answer to something that `stop` knows.
    async fn serve_until(&mut self, replica: usize, stop: impl Fn(&Op) -> bool) {
        assert!(self.serve(replica, stop).await, "never asked:\n{}", self.trace.join("\n"));
    }

    /// The same, or until it waits for nothing any more. Whether it was the former.
    async fn serve(&mut self, replica: usize, stop: impl Fn(&Op) -> bool) -> bool {
        loop {
            self.settle().await;
            match self.asked(replica, &stop) {
                None => return false,
                Some((_, true)) => return true,
                Some((number, false)) => self.decide(number, false),
            }
        }
    }

    /// The one request that a replica waits for is answered.
    fn serve_one(&mut self, replica: usize) {
        if let Some((number, _)) = self.asked(replica, &|_| true) {
            self.decide(number, false);
        }
    }

    /// The first request that a replica waits for, and whether `stop` knows it.
    fn asked(&self, replica: usize, stop: &impl Fn(&Op) -> bool) -> Option<(u64, bool)> {
        let process = self.replicas[replica].number;
        let wire = self.wire.lock();
        let mut asked = wire.ops.iter().filter(|(_, op)| op.process == process);
        asked.next().map(|(number, op)| (*number, stop(op)))
    }

    /// A look at the workspace, to its end.
    async fn look(&mut self, replica: usize) {
        self.begin(replica, "workspaces", "ws").await;
        self.serve(replica, |_| false).await;
        self.hear_all(replica);
    }

    fn assert_sound(&self) {
        assert_eq!(self.oracle.violation, None, "{}", self.trace.join("\n"));
    }
}

fn is(method: &'static str, server: Server, end: &'static str) -> impl Fn(&Op) -> bool {
    move |op| op.server == server && op.method == method && op.path.ends_with(end)
}

/// Two replicas that both lead and know the workspace, and a connector that both heard of.
async fn two_leaders() -> World {
    let mut world = World::still(2);
    world.look(0).await;
    world.look(1).await;
    world.apply_lake();
    world
}

#[test]
fn a_replica_that_was_denied_a_claim_does_not_let_go_of_what_the_other_one_is_creating() {
    in_virtual_time(1, async {
        let mut world = two_leaders().await;
        // The one has its finalizer, and is about to claim.
        world.begin(0, "connectors", "lake").await;
        world.serve_until(0, is("PATCH", Server::Kubernetes, "/workspaces/ws")).await;
        // The other has read the claims, of which there are none, and is about to open one too.
        world.begin(1, "connectors", "lake").await;
        world.serve_until(1, is("GET", Server::Kubernetes, "/workspaces/ws")).await;
        world.serve_one(1);
        world.serve_until(1, is("GET", Server::Kubernetes, "/workspaces/ws")).await;
        // The create is done, and its id is not recorded, when the object is deleted.
        world.serve_until(0, is("POST", Server::Api, "/connectors")).await;
        world.serve_until(0, is("PUT", Server::Kubernetes, "/connectors/lake/status")).await;
        world.cluster.handle("DELETE", LAKE, Value::Null, crate::clock::now());
        world.serve(1, |_| false).await;
        world.assert_sound();
        world.serve(0, |_| false).await;
        world.calm().await;
        world.assert_sound();
        assert!(world.api.alive().is_empty(), "the connector went with its object");
    });
}

#[test]
fn a_claim_that_was_renewed_is_as_old_as_its_renewal() {
    in_virtual_time(1, async {
        let world = World::still(1);
        let ctx = world.replicas[0].context();
        let claim: Claim = serde_json::from_value(json!({ "kind": "Connector", "namespace": "team", "name": "lake",
            "uid": "u", "nonce": "n", "claimedAt": "2027-01-15T08:00:00Z", "identity": "i", "subject": "team.lake" }))
        .unwrap();
        assert_eq!(ctx.known_for(&claim), Duration::ZERO);
        tokio::time::advance(SETTLED_AFTER).await;
        assert_eq!(ctx.known_for(&claim), SETTLED_AFTER);
        let renewed = Claim { claimed_at: crate::clock::now(), ..claim };
        assert_eq!(ctx.known_for(&renewed), Duration::ZERO, "a POST may be sent under it from now on");
    });
}

#[test]
fn a_create_under_a_renewed_claim_is_waited_for_as_long_as_under_a_new_one() {
    in_virtual_time(1, async {
        let mut world = two_leaders().await;
        world.begin(0, "connectors", "lake").await;
        world.serve_until(0, is("PUT", Server::Kubernetes, "/workspaces/ws/status")).await;
        // The claim is written; its writer is held up, while the other one finds it open.
        world.serve_until(0, is("PUT", Server::Kubernetes, "/connectors/lake/status")).await;
        world.begin(1, "connectors", "lake").await;
        world.serve(1, |_| false).await;
        world.advance(SETTLED_AFTER - LEASE).await;
        // The writer goes on, renews the claim, and its POST is on its way.
        world.serve_until(0, is("POST", Server::Api, "/connectors")).await;
        tokio::time::advance(LEASE + Duration::from_secs(5)).await;
        world.begin(1, "connectors", "lake").await;
        world.serve(1, |_| false).await;
        world.assert_sound();
        world.serve(0, |_| false).await;
        world.calm().await;
        world.assert_sound();
        assert_eq!(world.api.alive().len(), 1);
    });
}

#[test]
fn a_claim_is_closed_on_the_workspace_that_is_there_and_not_on_the_one_that_was_written_last() {
    in_virtual_time(1, async {
        let mut world = World::still(2);
        // The first has written claims before, and remembers the workspace without any.
        world.look(0).await;
        world.apply_lake();
        world.begin(0, "connectors", "lake").await;
        world.serve(0, |_| false).await;
        world.cluster.handle("DELETE", LAKE, Value::Null, crate::clock::now());
        world.begin(0, "connectors", "lake").await;
        world.serve(0, |_| false).await;
        assert!(world.cluster.objects.keys().all(|key| key.0 != "connectors"));
        // The second creates for the next object of that name, and dies when it is about to close the claim.
        world.apply_lake();
        world.look(1).await;
        world.begin(1, "connectors", "lake").await;
        world.serve_until(1, is("POST", Server::Api, "/connectors")).await;
        world.serve_until(1, is("PUT", Server::Kubernetes, "/workspaces/ws/status")).await;
        world.wire.lock().ops.clear();
        world.replicas.pop();
        world.calm().await;
        world.assert_sound();
        assert_eq!(world.api.alive().len(), 1);
    });
}

#[test]
fn a_create_that_is_carried_out_after_it_was_given_up_for_lost_is_told_of_and_what_it_made_stays() {
    in_virtual_time(1, async {
        let mut world = two_leaders().await;
        world.begin(0, "connectors", "lake").await;
        world.serve_until(0, is("POST", Server::Api, "/connectors")).await;
        // The one dies, and its request is on its way for longer than is reckoned with.
        world.wire.lock().ops.clear();
        world.replicas.remove(0);
        for _ in 0..2 {
            world.look(0).await;
            world.begin(0, "connectors", "lake").await;
            world.serve(0, |_| false).await;
            world.advance(SETTLED_AFTER + Duration::from_secs(1)).await;
        }
        assert_eq!(world.api.alive().len(), 1, "created again:\n{}", world.trace.join("\n"));
        let (id, item) =
            world.api.items.first_key_value().map(|(id, item)| (id.clone(), item.clone())).unwrap();
        world.api.plant("conn-late", &item.name, item.config, crate::clock::now());
        world.look(0).await;
        let key = ("workspaces".to_owned(), "team".to_owned(), "ws".to_owned());
        let told = world.cluster.objects[&key]["status"].to_string();
        let both = format!("made 1 connector (conn-late beside that of Connector team/lake, which has {id})");
        assert!(told.contains("LateTwin") && told.contains(&both), "{told}");
        world.calm().await;
        world.assert_sound();
        assert_eq!(world.api.alive().len(), 2, "nothing is deleted");
        world.api.lose("conn-late");
        world.look(0).await;
        assert!(!world.cluster.objects[&key]["status"].to_string().contains("LateTwin"));
    });
}
