//! One cluster for all tests of a process. Statics are never dropped; the guards end it when the process ends.

use std::ops::Deref;

use tokio::sync::OnceCell;

use super::TestCluster;
use crate::Result;
use crate::process::{TAIL_LINES, tail_of};

static SHARED: OnceCell<TestCluster> = OnceCell::const_new();

/// A test's hold on the shared cluster. It cannot stop parts of it: a test that does starts its own.
#[derive(Debug)]
pub struct SharedCluster(&'static TestCluster);

impl SharedCluster {
    pub(super) async fn get() -> Result<Self> {
        SHARED.get_or_try_init(TestCluster::start).await.map(Self)
    }
}

impl Deref for SharedCluster {
    type Target = TestCluster;

    fn deref(&self) -> &TestCluster {
        self.0
    }
}

impl Drop for SharedCluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in ["kube-apiserver.log", "kube-controller-manager.log"] {
                let log = self.0.dir.file(name);
                eprintln!("--- end of {} ---\n{}", log.display(), tail_of(&log, TAIL_LINES));
            }
        }
    }
}
