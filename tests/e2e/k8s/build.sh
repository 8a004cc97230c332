#!/usr/bin/env bash
# Build what a Kubernetes cluster is made of into a cache folder, once: control plane, kubelet, etcd, CoreDNS,
# kube-router, Prometheus with its operator, a device plugin with fake GPUs. Needs Go and some half an hour of two cores; versions
# stand in the stamp's name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?where to build}
KUBERNETES=1.37.2 ETCD=3.7.3 COREDNS=1.15.0 KUBE_ROUTER=2.1.0
PROMETHEUS=0.307.3 # the module's number of Prometheus 3.7.3
PROMETHEUS_OPERATOR=0.85.0
mkdir -p "$folder/bin"
export GOFLAGS='-mod=mod -buildvcs=false' CGO_ENABLED=0

# built NAME: is this version there already? Say what is being built if not.
built() { [ -f "$folder/bin/.$1" ] && return 0; echo "building $1 ..."; return 1; }
stamp() { touch "$folder/bin/.$1"; }
module() { mkdir -p "$folder/src/$1"; cd "$folder/src/$1"; printf 'module build/%s\n\ngo 1.26.0\n' "$1" > go.mod; }

kubernetes() {
  built "kubernetes-$KUBERNETES" && return
  local staging=v0.${KUBERNETES#1.} path=k8s.io/component-base/version
  module kubernetes
  (cd /tmp && go mod download "k8s.io/kubernetes@v$KUBERNETES")
  # Its staging modules are v0.0.0 in its go.mod: each is replaced by its published twin.
  local original
  original=$(go env GOMODCACHE)/cache/download/k8s.io/kubernetes/@v/v$KUBERNETES.mod
  {
    echo "require k8s.io/kubernetes v$KUBERNETES"
    echo 'replace ('
    awk -v v="$staging" '$1 ~ /^k8s.io\// && $2 == "v0.0.0" { print "\t" $1 " => " $1 " " v }' "$original" | sort -u
    echo ')'
  } >> go.mod
  mkdir -p fakegpu && cp "$here/fakegpu/main.go" fakegpu/
  go build -trimpath -ldflags="-s -w -X $path.gitVersion=v$KUBERNETES -X $path.gitMajor=1 -X $path.gitMinor=${KUBERNETES:2:2}" \
    -o "$folder/bin/" k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy} ./fakegpu
  stamp "kubernetes-$KUBERNETES"
}

program() { # NAME VERSION PACKAGE MODULE
  built "$1-$2" && return
  module "$1"
  go get -tool "$3@v$2"
  go build -trimpath -ldflags='-s -w' -o "$folder/bin/$1" "$3"
  stamp "$1-$2"
}

operator() {
  built "manifests-$PROMETHEUS_OPERATOR" && return
  module manifests
  local source
  go mod download "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR"
  source=$(go env GOMODCACHE)/github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR/example
  rm -rf "$folder/crds" && mkdir -p "$folder/crds" "$folder/prometheus-operator"
  cp "$source"/prometheus-operator-crd/*.yaml "$folder/crds/" && chmod -R u+w "$folder/crds"
  # Its roles and its deployment.
  cp "$source"/rbac/prometheus-operator/prometheus-operator-{cluster-role,cluster-role-binding,deployment,service-account}.yaml \
    "$folder/prometheus-operator/" && chmod -R u+w "$folder/prometheus-operator"
  stamp "manifests-$PROMETHEUS_OPERATOR"
}

kubernetes
program etcd "$ETCD" go.etcd.io/etcd/server/v3
program coredns "$COREDNS" github.com/coredns/coredns
program kube-router "$KUBE_ROUTER" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router # enforces network policies
program prometheus "$PROMETHEUS" github.com/prometheus/prometheus/cmd/prometheus
program prometheus-config-reloader "$PROMETHEUS_OPERATOR" github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader
program prometheus-operator "$PROMETHEUS_OPERATOR" github.com/prometheus-operator/prometheus-operator/cmd/operator
operator
echo "the cluster's programs are in $folder/bin"
