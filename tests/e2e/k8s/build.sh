#!/usr/bin/env bash
# Build what a Kubernetes cluster is made of into a cache folder, once: control plane, kubelet, etcd, CoreDNS, KServe's
# controller, kube-router, KEDA, Prometheus, a device plugin with fake GPUs. Needs Go and some half an hour of two cores; versions
# stand in the stamp's name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?where to build}
KUBERNETES=1.37.2 ETCD=3.7.3 COREDNS=1.15.0 KSERVE=0.20.0 KUBE_ROUTER=2.1.0
KEDA=2.21.0 PROMETHEUS=0.307.3 # the module's number of Prometheus 3.7.3
PROMETHEUS_OPERATOR=0.85.0 GATEWAY_API=1.5.1 CERT_MANAGER=1.21.2 # of the last two their CRDs alone, which admit what the chart makes
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

# replacing MODULE VERSION: a module that requires this one. Go ignores the replaces of a dependency, so they are copied.
replacing() {
  go mod download "$1@v$2"
  go mod edit -require="$1@v$2"
  go mod edit -json "$(go env GOMODCACHE)/$1@v$2/go.mod" | python3 -c '
import json, sys
for each in json.load(sys.stdin).get("Replace") or []:
    old, new = each["Old"], each["New"]
    if not new["Path"].startswith("."):
        print("replace", old["Path"], old.get("Version", ""), "=>", new["Path"], new.get("Version", ""))' >> go.mod
}

kserve() {
  built "kserve-$KSERVE" && return
  module kserve
  replacing github.com/kserve/kserve "$KSERVE"
  local source
  source=$(go env GOMODCACHE)/github.com/kserve/kserve@v$KSERVE
  go build -trimpath -ldflags='-s -w' -o "$folder/bin/kserve-manager" github.com/kserve/kserve/cmd/manager
  # What of its sources the cluster needs: CRDs, configuration, webhooks.
  rm -rf "$folder/kserve" && mkdir -p "$folder/kserve"
  cp -r "$source/config/crd/full" "$source/config/configmap" "$source/config/webhook" "$folder/kserve/" && chmod -R u+w "$folder/kserve"
  stamp "kserve-$KSERVE"
}

keda() {
  built "keda-$KEDA" && return
  module keda
  replacing github.com/kedacore/keda/v2 "$KEDA"
  go build -trimpath -ldflags='-s -w' -o "$folder/bin/keda" github.com/kedacore/keda/v2/cmd/operator
  go build -trimpath -ldflags='-s -w' -o "$folder/bin/keda-adapter" github.com/kedacore/keda/v2/cmd/adapter
  # Its own manifests: roles, deployments, services.
  rm -rf "$folder/keda" && mkdir -p "$folder/keda"
  cp -r "$(go env GOMODCACHE)/github.com/kedacore/keda/v2@v$KEDA"/config/{general,manager,metrics-server,rbac,service_account} "$folder/keda/"
  chmod -R u+w "$folder/keda"
  stamp "keda-$KEDA"
}

crds() {
  built "crds-$KEDA-$GATEWAY_API-policies-$PROMETHEUS_OPERATOR-all-$CERT_MANAGER" && return
  module crds
  local cache
  cache=$(go env GOMODCACHE)
  go mod download "github.com/kedacore/keda/v2@v$KEDA" "sigs.k8s.io/gateway-api@v$GATEWAY_API" \
    "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR" "github.com/cert-manager/cert-manager@v$CERT_MANAGER"
  rm -rf "$folder/crds" && mkdir -p "$folder/crds"
  cp "$cache/github.com/kedacore/keda/v2@v$KEDA"/config/crd/bases/*.yaml \
    "$cache/sigs.k8s.io/gateway-api@v$GATEWAY_API"/config/crd/standard/gateway.networking.k8s.io_{gateways,grpcroutes,httproutes,backendtlspolicies}.yaml \
    "$cache/github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR"/example/prometheus-operator-crd/*.yaml \
    "$cache/github.com/cert-manager/cert-manager@v$CERT_MANAGER"/deploy/crds/cert-manager.io_certificates.yaml \
    "$folder/crds/" && chmod -R u+w "$folder/crds"
  # The roles and the deployment of Prometheus's operator.
  mkdir -p "$folder/prometheus-operator"
  cp "$cache/github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR"/example/rbac/prometheus-operator/prometheus-operator-{cluster-role,cluster-role-binding,deployment,service-account}.yaml \
    "$folder/prometheus-operator/" && chmod -R u+w "$folder/prometheus-operator"
  stamp "crds-$KEDA-$GATEWAY_API-policies-$PROMETHEUS_OPERATOR-all-$CERT_MANAGER"
}

kubernetes
program etcd "$ETCD" go.etcd.io/etcd/server/v3
program coredns "$COREDNS" github.com/coredns/coredns
program kube-router "$KUBE_ROUTER" github.com/cloudnativelabs/kube-router/v2/cmd/kube-router # enforces network policies
program prometheus "$PROMETHEUS" github.com/prometheus/prometheus/cmd/prometheus
program prometheus-config-reloader "$PROMETHEUS_OPERATOR" github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader
program prometheus-operator "$PROMETHEUS_OPERATOR" github.com/prometheus-operator/prometheus-operator/cmd/operator
kserve
keda
crds
echo "the cluster's programs are in $folder/bin"
