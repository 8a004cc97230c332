"""What each alert says at its own times, by promtool: not yet, it fires, it has ended. alerts.yaml has the series."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart import ROOT, needs_helm, render

TOLD = Path(__file__).with_name("alerts.yaml")
PROMTOOL = Path(os.environ.get("TANDEM_K8S", Path.home() / ".cache/tandem/k8s")) / "bin" / "promtool"
RULES = yaml.safe_load((ROOT / "deploy/alerts/tandem.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
MONITORED = "metrics.prometheusRule"


@pytest.mark.skipif(not PROMTOOL.is_file(), reason="needs promtool: `make e2e-k8s` builds it")
def test_the_rules_say_at_their_own_times_what_promtool_is_told() -> None:
    done = subprocess.run([PROMTOOL, "test", "rules", TOLD], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_rule_is_told_of_and_has_an_entry_in_the_runbook() -> None:
    told, runbook = TOLD.read_text(), (ROOT / "docs/operate.md").read_text()
    for rule in ALERTS:
        assert f'"{rule["alert"]}"' in told, rule["alert"]
        assert f"### {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook_url"] == f"docs/operate.md#{rule['alert'].lower()}"


def test_every_metric_of_ours_in_a_rule_is_one_that_a_process_exports() -> None:
    """Counters have `_total` from the library, histograms `_bucket`, `_count` and `_sum`."""
    code = "".join(file.read_text() for top in ("services", "workflows") for file in (ROOT / top).rglob("*.py"))
    for rule in ALERTS:
        for name in set(re.findall(r"\btandem_[a-z_]+\b(?=[{\[)\s])", rule["expr"])):
            base = re.sub(r"_(?:total|bucket|count|sum)$", "", name)
            assert f'"{name}"' in code or f'"{base}"' in code or f'"{base}_total"' in code, (rule["alert"], name)


@needs_helm
def test_what_is_promised_and_where_the_runbook_is_are_values() -> None:
    def rules(*sets: str) -> str:
        return yaml.safe_dump(
            next(o for o in render("gpu", *sets) if o["kind"] == "PrometheusRule")["spec"], width=1000
        )

    slo = ("slo.answered=0.999", "slo.inTime=0.9", "slo.seconds=30")
    text = rules(*(f"{MONITORED}.{each}" for each in slo), f"{MONITORED}.runbookUrl=https://docs.example.org/operate")
    assert "14.4 * (1 - 0.999)" in text
    assert "6 * (1 - 0.9)" in text
    assert 'le="30.0"' in text
    assert "(1 - 0.99)" not in text
    assert "https://docs.example.org/operate#tandemprocessisgone" in text
    assert 'le="60.0"' in rules()
