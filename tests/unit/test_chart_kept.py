"""What the chart says of the text that is kept: who has its keys, and for how long it stays."""

from __future__ import annotations

from tests.chart import COMPONENTS, needs_helm, pod_specs, render
from tests.unit.test_chart_files import variables

WITHOUT_TEXT = {"answer-checker", "http-gateway"}
FILE = "/etc/tandem/payload-keys/payload-keys.json"


@needs_helm
def test_whoever_reads_text_has_its_keys_and_nobody_else() -> None:
    specs = pod_specs(render("gpu", "temporal.payloadKeysSecret=tandem-payload-keys"))
    volume = {"name": "payload-keys", "secret": {"secretName": "tandem-payload-keys"}}
    mount = {"name": "payload-keys", "mountPath": "/etc/tandem/payload-keys", "readOnly": True}
    for name in [*(f"Deployment/t-tandem-{name}" for name in COMPONENTS), "Job/t-tandem-setup"]:
        spec = specs[name]
        reads = name.removeprefix("Deployment/t-tandem-") not in WITHOUT_TEXT
        assert (variables(spec).get("TANDEM_PAYLOAD_KEYS") == FILE) == reads
        assert (volume in spec["volumes"]) == reads
        assert (mount in spec["containers"][0]["volumeMounts"]) == reads
        assert reads or "payload-keys" not in str(spec)


@needs_helm
def test_one_value_is_the_retention_of_temporal_and_of_the_files() -> None:
    specs = pod_specs(render("gpu", "retention=P7D"))
    for name in ("Deployment/t-tandem-gateway", "Job/t-tandem-setup"):
        assert variables(specs[name])["TANDEM_RETENTION"] == "P7D"


@needs_helm
def test_without_the_value_the_retention_is_left_as_it_is() -> None:
    assert "TANDEM_RETENTION" not in str(pod_specs(render("gpu")))
