"""What each alert says at its own times, by promtool: not yet, it fires, it has ended. alerts.yaml has the series.

The first two hours of an outage are played to the rules as the chart installs them; docs/operate.md says what they
answer.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tandem.paths import programs_folder
from tests.chart import CI, COMPONENTS, ROOT, needs_helm, refusal, render

TOLD = [Path(__file__).with_name(name) for name in ("alerts.yaml", "alerts_days.yaml")]
RULES = yaml.safe_load((ROOT / "deploy/alerts/tandem.yaml").read_text())
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
MONITORED = "metrics.prometheusRule"
RUNBOOK = ROOT / "docs/operate.md"
ENABLED = f"{MONITORED}.enabled=true"
PROMTOOL = programs_folder() / "promtool"
needs_promtool = pytest.mark.skipif(not PROMTOOL.is_file(), reason="needs promtool: `make tools TOOLS=k8s` gets it")


def promtool(*arguments: str | Path) -> str:
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rules_of(values: str, *sets: str) -> dict[str, Any]:
    """The rules as the chart installs them."""
    [spec] = [o["spec"] for o in render(values, ENABLED, *sets) if o["kind"] == "PrometheusRule"]
    return dict(spec)


def expressions(spec: dict[str, Any]) -> dict[str, str]:
    return {rule["alert"]: rule["expr"] for group in spec["groups"] for rule in group["rules"]}


@needs_promtool
@pytest.mark.parametrize("told", TOLD, ids=lambda file: file.stem)
def test_the_rules_say_at_their_own_times_what_promtool_is_told(told: Path) -> None:
    promtool("test", "rules", told)


@needs_helm
@needs_promtool
@pytest.mark.parametrize("values", CI)
def test_prometheus_takes_the_rules_of_every_release(values: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rules_of(values)))
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", file)


def test_each_rule_is_told_of_and_has_an_entry_in_the_runbook() -> None:
    told, runbook = "".join(file.read_text() for file in TOLD), RUNBOOK.read_text()
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
        return yaml.safe_dump(rules_of("gpu", *sets), width=1000)

    slo = ("slo.answered=0.999", "slo.inTime=0.93", "slo.seconds=30")
    text = rules(*(f"{MONITORED}.{each}" for each in slo), f"{MONITORED}.runbookUrl=https://docs.example.org/operate")
    assert "14.4 * (1 - 0.999)" in text
    assert "6 * (1 - 0.93)" in text
    assert 'le="30.0"' in text
    assert "(1 - 0.99)" not in text
    assert "https://docs.example.org/operate#tandemprocessisgone" in text
    assert 'le="60.0"' in rules()


@needs_helm
@pytest.mark.parametrize("share", ["0.5", "0.7", "0.9", "0.95"])
def test_no_promise_gives_a_threshold_that_calls_cannot_reach(share: str) -> None:
    found = expressions(rules_of("gpu", f"{MONITORED}.slo.answered={share}", f"{MONITORED}.slo.inTime={share}"))
    said = [found[alert] for alert in ("TandemAnswersFailFast", "TandemAnswersFailSlowly", "TandemAnswersAreLate")]
    thresholds = re.findall(r"> (?:([\d.]+) \* \(1 - ([\d.]+)\)|([\d.]+))", " ".join(said))
    assert len(thresholds) == 2 + 4 + 4
    for burn, promised, fixed in thresholds:
        assert 0 < (float(fixed) if fixed else float(burn) * (1 - float(promised))) <= 0.5


@needs_helm
@pytest.mark.parametrize("share", ["0.4", "1", "0", "1.5"])
def test_a_promise_that_is_none_is_refused(share: str) -> None:
    assert "answered" in refusal("gpu", f"{MONITORED}.slo.answered={share}")


@needs_helm
def test_each_selector_of_a_release_names_its_namespace() -> None:
    for alert, expr in expressions(rules_of("profiles")).items():
        selectors = re.findall(r"\b(?:tandem|otel_sdk)_[a-z_]+(\{[^}]*\})?", expr)
        assert all('namespace="ns"' in each for each in selectors), (alert, expr)
        assert selectors or alert == "TandemWatchdog"


@needs_helm
def test_the_processes_that_must_be_there_are_those_that_the_release_has_and_that_do_not_sleep() -> None:
    def expected(values: str, *sets: str) -> list[str]:
        return re.findall(r'process="([a-z-]+)"', expressions(rules_of(values, *sets))["TandemProcessIsGone"])

    own = {"answer-checker", "gateway", "http-gateway", "worker"}
    models = {"insight-generator", "slm-executor", "sufficiency-scorer"}
    assert set(expected("gpu")) == own | models
    assert set(expected("gpu", "insightGenerator.autoscaling.minReplicas=0", "httpGateway.enabled=false")) == (
        own | models
    ) - {"insight-generator", "http-gateway"}
    assert set(expected("kserve")) == own  # its pods have no port that is scraped
    assert set(expected("two-small")) == own | {"insight-generator", "slm-executor", "second-slm-executor"}
    assert expected("profiles").count("worker") == 2


@needs_helm
def test_two_releases_have_two_dashboards() -> None:
    def dashboard(*sets: str) -> dict[str, Any]:
        [found] = [o for o in render("gpu", *sets) if "tandem.json" in o.get("data", {})]
        return {**json.loads(found["data"]["tandem.json"]), "annotations": found["metadata"].get("annotations")}

    folder = "metrics.grafanaDashboard.annotations.grafana_folder=AI"
    first, second = dashboard(), dashboard("fullnameOverride=other", folder)
    assert first["uid"] != second["uid"]
    assert (first["title"], second["title"]) == ("Tandem ns/t-tandem", "Tandem ns/other")
    assert first["templating"]["list"][-1]["current"]["value"] == "ns"
    assert (first["annotations"], second["annotations"]) == (None, {"grafana_folder": "AI"})


DAYS, HEALTHY, OUTAGE = (
    3 * 1440,
    370,
    120,
)  # minutes: the first ones in one step, which the windows of hours do not reach
EACH_MINUTE = {  # what is counted in one of 60 calls, half of them over HTTP
    'tandem_gateway_requests_total{outcome="answered", profile="p"}': 60,
    'tandem_gateway_requests_total{outcome="failed", profile="p"}': 0,
    'tandem_requests_total{reason="sufficient"}': 60,
    'tandem_llm_failed_requests_total{outcome="failed"}': 0,
    'tandem_requests_total{reason="failed"}': 0,
    "tandem_degraded_requests_total": 0,
    'tandem_dependency_errors_total{dependency="redis"}': 0,
    'tandem_dependency_errors_total{dependency="temporal"}': 0,
    'tandem_http_requests_total{status="200"}': 30,
    'tandem_http_requests_total{status="503"}': 0,
}
ANSWERED, FAILED, SUFFICIENT, LLM_FAILED, UNANSWERED, DEGRADED, REDIS, TEMPORAL, HTTP, HTTP_FAILED = EACH_MINUTE
# A reply that fails before its first text has the failure's status.
WITHOUT_LLM = {
    ANSWERED: 0, FAILED: 60, SUFFICIENT: 0, UNANSWERED: 60, LLM_FAILED: 60, HTTP: 0, HTTP_FAILED: 30
}  # fmt: skip
# What real servers counted: a request without Redis has 90 errors, and idle processes 1,200 a minute; a call without
# Temporal has one.
OUTAGES: dict[str, tuple[set[str], dict[str, int]]] = {
    "Redis": (set(), {**WITHOUT_LLM, REDIS: 6600}),
    "Temporal": (set(), {ANSWERED: 0, FAILED: 60, SUFFICIENT: 0, TEMPORAL: 60, HTTP: 0, HTTP_FAILED: 30}),
    "large model's pool": ({"insight-generator"}, WITHOUT_LLM),
    "small model's pool": (
        {"sufficiency-scorer", "slm-executor"},
        {
            ANSWERED: 0,
            FAILED: 60,
            SUFFICIENT: 0,
            UNANSWERED: 60,
            HTTP: 15,
            HTTP_FAILED: 15,
        },  # a reply that had begun is 200
    ),
}


def documented() -> dict[str, dict[str, int]]:
    """Minutes until each alert fires, by outage, of the table in the runbook."""
    table = RUNBOOK.read_text().partition("\n| outage |")[2].partition("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    return {what: {a: int(m) for a, m in re.findall(r"\[(\w+)\]\(#\w+\) (\d+)", alerts)} for what, alerts in rows}


@needs_helm
@needs_promtool
@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_alerted_of_when_the_runbook_says_and_for_as_long_as_it_lasts(outage: str, tmp_path: Path) -> None:
    gone, counted = OUTAGES[outage]
    fires = documented()[outage]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules_of("gpu")))
    series = [
        {
            "series": f'tandem_process_info{{process="{name}", pod="t-tandem-{name}-7c9d5b8f6d-x2k4z", namespace="ns"}}',
            "values": f"1x{HEALTHY} stale _x{OUTAGE - 1}" if name in gone else f"1x{HEALTHY + OUTAGE}",
        }
        for name in COMPONENTS
    ]
    for name, each in EACH_MINUTE.items():
        metric, _, labels = name.rstrip("}").partition("{")
        named = f'{metric}{{{labels + ", " if labels else ""}namespace="ns"}}'
        now = counted.get(name, each)
        before = DAYS * each
        values = f"0 {before}+{each}x{HEALTHY - 1} {before + (HEALTHY - 1) * each + now}+{now}x{OUTAGE - 1}"
        series.append({"series": named, "values": values})
    looks = {0, 60, 90, OUTAGE} | {minute - early for minute in fires.values() for early in (0, 1)}
    firing = 'count by (alertname) (ALERTS{alertstate="firing", alertname!="TandemWatchdog"} > bool 0)'
    counts = {"TandemProcessIsGone": len(gone)}
    tests = [
        {"expr": firing, "eval_time": f"{HEALTHY + look}m", "exp_samples": [
            {"labels": f'{{alertname="{alert}"}}', "value": counts.get(alert, 1)}
            for alert, minute in fires.items() if minute <= look
        ]}
        for look in sorted(looks)
    ]  # fmt: skip
    told = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m",
            "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": tests}]}  # fmt: skip
    (tmp_path / "told.yaml").write_text(yaml.safe_dump(told, width=1000))
    promtool("test", "rules", tmp_path / "told.yaml")
