//go:build tools

// Package controlplane pins the commands of a Kubernetes control plane, so that go.mod and go.sum name and verify
// every module they are built from. It is never compiled: the build tag keeps it out of any build.
package controlplane

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
