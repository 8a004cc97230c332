"""KServe's controller beside the cluster: CRDs, configuration (Standard mode, no ingress), webhooks, and the
process.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import wait_for
from tests.e2e.k8s.pki import write_certificate

_PORT = 9443
_SERVED = (
    "/mutate-serving-kserve-io-v1beta1-inferenceservice", "/validate-serving-kserve-io-v1beta1-inferenceservice",
    "/mutate-pods", "/validate-serving-kserve-io-v1alpha1-servingruntime",
    "/validate-serving-kserve-io-v1alpha1-clusterservingruntime",
)  # fmt: skip


def install(cluster: Cluster) -> None:
    """CRDs, config map, webhooks, and the controller, until it answers."""
    sources = cluster.folder / "kserve"
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(sources / "full"))
    # kubectl fails at once for a CRD that has no conditions yet.
    established = ("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
    wait_for("the CRDs", lambda: cluster.kubectl(*established), 120)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}
    cluster.apply([namespace, _configuration(sources)])
    # Where the manager looks: in its temporary folder, which is our own (daemons.py).
    folder = cluster.run / "kserve" / "k8s-webhook-server" / "serving-certs"
    folder.mkdir(parents=True, exist_ok=True)
    write_certificate(cluster, "kserve-webhook", "/CN=kserve-webhook", "DNS:localhost,IP:127.0.0.1")
    for end in ("key", "crt"):
        (folder / f"tls.{end}").write_bytes((cluster.pki / f"kserve-webhook.{end}").read_bytes())
    cluster.start("kserve-manager")
    cluster.apply(_webhooks(sources, (cluster.pki / "ca.crt").read_bytes()))
    _wait_until_ready(cluster)


def _configuration(sources: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((sources / "configmap" / "inferenceservice.yaml").read_text())
    data = found["data"]
    data.pop("_example", None)
    for key, changes in (
        ("deploy", {"defaultDeploymentMode": "RawDeployment"}),
        ("ingress", {"disableIngressCreation": True, "disableIstioVirtualHost": True}),
    ):
        data[key] = json.dumps({**json.loads(data[key]), **changes})
    return {**found, "metadata": {"name": "inferenceservice-config", "namespace": "kserve"}}


def _webhooks(sources: Path, authority: bytes) -> list[dict[str, Any]]:
    """Registered by address: the controller runs beside the API server, not in a pod."""
    kept = []
    for each in yaml.safe_load_all((sources / "webhook" / "manifests.yaml").read_text()):
        if not each:
            continue
        each["metadata"].pop("creationTimestamp", None)
        hooks = []
        for hook in each["webhooks"]:
            path = hook["clientConfig"]["service"]["path"]
            if path in _SERVED:
                url = f"https://127.0.0.1:{_PORT}{path}"
                hook["clientConfig"] = {"url": url, "caBundle": base64.b64encode(authority).decode()}
                hook["admissionReviewVersions"] = ["v1", "v1beta1"]
                hooks.append(hook)
        if hooks:
            kept.append({**each, "webhooks": hooks})
    return kept


def _wait_until_ready(cluster: Cluster) -> None:
    """Its webhook answers: an InferenceService is admitted (as a dry run)."""
    probe = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "probe", "namespace": "default"},
        "spec": {"predictor": {"containers": [{"name": "kserve-container", "image": "none"}]}},
    }
    words = ("apply", "--dry-run=server", "-f", "-")
    wait_for("KServe's webhook", lambda: cluster.kubectl(*words, input=yaml.safe_dump(probe)))
