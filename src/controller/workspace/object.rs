//! A workspace object of either kind, read from the API server and written back under its resourceVersion.

use std::fmt::Debug;

use kube::api::Patch;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::controller::{Error, writes};
use crate::crd::{
    AllowedNamespaces, ApiAccess, ClusterWorkspace, FINALIZER, Workspace, WorkspaceId, WorkspaceKey,
    WorkspaceKind, WorkspaceStatus,
};

/// A workspace of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyWorkspace {
    /// Cluster-scoped.
    Cluster(Box<ClusterWorkspace>),
    /// Namespaced.
    Namespaced(Box<Workspace>),
}

impl From<Workspace> for AnyWorkspace {
    fn from(object: Workspace) -> Self {
        Self::Namespaced(Box::new(object))
    }
}

impl From<ClusterWorkspace> for AnyWorkspace {
    fn from(object: ClusterWorkspace) -> Self {
        Self::Cluster(Box::new(object))
    }
}

impl AnyWorkspace {
    /// Reads the workspace from the API server; none if it is not there.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn read(client: &Client, key: &WorkspaceKey) -> Result<Option<Self>, Error> {
        let found = match (&key.kind, &key.namespace) {
            (WorkspaceKind::Workspace, Some(namespace)) => {
                let api = Api::<Workspace>::namespaced(client.clone(), namespace);
                api.get_opt(&key.name).await.map(|found| found.map(|it| Self::Namespaced(Box::new(it))))
            }
            _ => {
                let api = Api::<ClusterWorkspace>::all(client.clone());
                api.get_opt(&key.name).await.map(|found| found.map(|it| Self::Cluster(Box::new(it))))
            }
        };
        found.map_err(Error::kubernetes("read the workspace"))
    }

    /// Writes the status, unless somebody else wrote the object since it was read.
    ///
    /// # Errors
    /// [`Error::Conflict`] then, and whatever else goes wrong.
    pub async fn write_status(self, client: &Client, status: WorkspaceStatus) -> Result<Self, Error> {
        match self {
            Self::Cluster(mut object) => {
                object.status = Some(status);
                let api = Api::<ClusterWorkspace>::all(client.clone());
                write(&api, &*object).await.map(|it| Self::Cluster(Box::new(it)))
            }
            Self::Namespaced(mut object) => {
                object.status = Some(status);
                let api =
                    Api::<Workspace>::namespaced(client.clone(), &object.namespace().unwrap_or_default());
                write(&api, &*object).await.map(|it| Self::Namespaced(Box::new(it)))
            }
        }
    }

    /// Puts our finalizer on it, where it is not. None: it is being deleted, and cannot be held any more.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else wrote the object since it was read, and whatever else goes wrong.
    pub async fn hold(self, client: &Client) -> Result<Option<Self>, Error> {
        if self.is_held() {
            return Ok(Some(self));
        }
        if self.is_deleting() {
            return Ok(None);
        }
        let mut finalizers = self.meta().finalizers.clone().unwrap_or_default();
        finalizers.push(FINALIZER.to_owned());
        self.put_finalizers(client, finalizers).await.map(Some)
    }

    /// Takes our finalizer off it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else wrote the object since it was read, and whatever else goes wrong.
    pub async fn release(self, client: &Client) -> Result<Self, Error> {
        let all = self.meta().finalizers.clone().unwrap_or_default();
        let left = all.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
        self.put_finalizers(client, left).await
    }

    async fn put_finalizers(self, client: &Client, finalizers: Vec<String>) -> Result<Self, Error> {
        let version = &self.meta().resource_version;
        let patch =
            Patch::Merge(json!({ "metadata": { "resourceVersion": version, "finalizers": finalizers } }));
        let (params, name) = (writes::patch(), self.key().name);
        let patched = match &self {
            Self::Cluster(_) => {
                let api = Api::<ClusterWorkspace>::all(client.clone());
                api.patch(&name, &params, &patch).await.map(|it| Self::Cluster(Box::new(it)))
            }
            Self::Namespaced(object) => {
                let namespace = object.namespace().unwrap_or_default();
                let api = Api::<Workspace>::namespaced(client.clone(), &namespace);
                api.patch(&name, &params, &patch).await.map(|it| Self::Namespaced(Box::new(it)))
            }
        };
        patched.map_err(Error::kubernetes("write the workspace's finalizers"))
    }

    /// Whether our finalizer is on it.
    pub fn is_held(&self) -> bool {
        self.meta().finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
    }

    /// Whether it is being deleted.
    pub fn is_deleting(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    /// Which object it is, and no other of the same name.
    pub fn id(&self) -> WorkspaceId {
        let WorkspaceKey { kind, namespace, name } = self.key();
        WorkspaceId { kind, namespace, name, uid: self.meta().uid.clone().unwrap_or_default() }
    }

    /// Which object it is.
    pub fn key(&self) -> WorkspaceKey {
        match self {
            Self::Cluster(object) => WorkspaceKey {
                kind: WorkspaceKind::ClusterWorkspace,
                namespace: None,
                name: object.name_any(),
            },
            Self::Namespaced(object) => WorkspaceKey {
                kind: WorkspaceKind::Workspace,
                namespace: object.namespace(),
                name: object.name_any(),
            },
        }
    }

    /// The part of the spec that both kinds have.
    pub fn access(&self) -> &ApiAccess {
        match self {
            Self::Cluster(object) => &object.spec.api,
            Self::Namespaced(object) => &object.spec.api,
        }
    }

    /// The namespaces that may use it. None for the namespaced kind: its own.
    pub fn allowed(&self) -> Option<AllowedNamespaces> {
        match self {
            Self::Cluster(object) => Some(object.spec.allowed_namespaces.clone().unwrap_or_default()),
            Self::Namespaced(_) => None,
        }
    }

    /// Whether its namespaces may take connectors that were not created from here. The namespaced kind's key is its
    /// namespace's own.
    pub fn allows_adoption(&self) -> bool {
        match self {
            Self::Cluster(object) => object.spec.allow_adoption,
            Self::Namespaced(_) => true,
        }
    }

    /// The status as it was read.
    pub fn status(&self) -> WorkspaceStatus {
        let status = match self {
            Self::Cluster(object) => &object.status,
            Self::Namespaced(object) => &object.status,
        };
        status.clone().unwrap_or_default()
    }

    /// The record of slots and claims as it was read; none if there never was one.
    pub fn record(&self) -> Option<&WorkspaceStatus> {
        match self {
            Self::Cluster(object) => object.status.as_ref(),
            Self::Namespaced(object) => object.status.as_ref(),
        }
    }

    /// The metadata.
    pub fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        match self {
            Self::Cluster(object) => &object.metadata,
            Self::Namespaced(object) => &object.metadata,
        }
    }

    /// How an event names it.
    pub fn reference(&self) -> k8s_openapi::api::core::v1::ObjectReference {
        match self {
            Self::Cluster(object) => object.object_ref(&()),
            Self::Namespaced(object) => object.object_ref(&()),
        }
    }
}

async fn write<K>(api: &Api<K>, object: &K) -> Result<K, Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
{
    api.replace_status(&object.name_any(), &writes::post(), object)
        .await
        .map_err(Error::kubernetes("write the workspace's status"))
}
