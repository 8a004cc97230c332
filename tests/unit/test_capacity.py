"""`tandem plan --capacity`: pods, tokens and GPU memory for rates of requests, by hand and from the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from lab.bench.common import RESULTS
from lab.bench.scale import SHARDS, peaks, planned
from lab.verbs.capacity import pod_limits
from tandem.cli import app
from tandem.local.catalogue import catalogue
from tandem.planning.capacity import (
    GATEWAY_CORE_SECONDS,
    WORKER_CORE_SECONDS,
    Load,
    PodLimits,
    PodRates,
    RoleNeed,
    Weights,
    plan_capacity,
)

LOAD = Load(question=200, insight=500, answer=1000)
RATES = {"llm": PodRates(9000, 1500, 64), "scorer": PodRates(20000, 20000, 64), "slm": PodRates(20000, 4000, 64)}
CHART = PodLimits(256, 1.0, 1.0)
MODELS = {"llm": Weights(64e9, 262144), "scorer": Weights(14e9, 57344), "slm": Weights(14e9, 57344)}


def needs(rate: float, load: Load = LOAD, utilisation: float = 0.7) -> dict[str, RoleNeed]:
    return {need.role: need for need in plan_capacity(rate, load, RATES, MODELS, CHART, utilisation).roles}


def test_the_figures_are_those_of_the_arithmetic_by_hand() -> None:
    llm, scorer, slm = needs(10).values()
    assert (llm.input_per_second, llm.output_per_second) == (2000, 5000)
    assert (scorer.input_per_second, scorer.output_per_second) == (7000, 0)
    assert (slm.input_per_second, slm.output_per_second) == (7000, 10000)
    # 10 * (200 / 9000 + 500 / 1500) = 3.56 pods' time, of pods that are busy for 70 %
    assert (llm.replicas, llm.utilisation) == (6, pytest.approx(3.5556 / 6, abs=1e-4))
    assert (scorer.replicas, slm.replicas) == (1, 5)  # 0.35 and 2.85 pods' time
    # A sequence is written at 1500 / 64 tokens a second.
    assert llm.at_once == pytest.approx(10 * (200 / 9000 + 500 * 64 / 1500))
    assert llm.gpu_bytes == pytest.approx(1.1 * (64e9 + 262144 * 700 * 64))
    assert slm.gpu_bytes == pytest.approx(1.1 * (14e9 + 57344 * 1700 * 64))


def test_no_pod_is_busier_than_allowed_and_its_batch_holds_what_runs_at_once() -> None:
    for rate in (0.5, 1, 10, 100, 1000):
        for utilisation in (0.3, 0.7, 0.9):
            for role, need in needs(rate, utilisation=utilisation).items():
                assert need.utilisation <= utilisation + 1e-9
                assert need.at_once <= need.replicas * RATES[role].batch
                if need.replicas > 1:  # one pod less would be too few
                    assert need.utilisation * need.replicas / (need.replicas - 1) > utilisation - 1e-9


def test_requests_that_never_ask_the_large_model_need_less_of_all_that_reads_insight() -> None:
    all_ask, half_ask = needs(100), needs(100, replace(LOAD, llm_share=0.5))
    assert half_ask["llm"].output_per_second == all_ask["llm"].output_per_second / 2
    assert half_ask["slm"].input_per_second < all_ask["slm"].input_per_second
    assert half_ask["slm"].output_per_second == all_ask["slm"].output_per_second


def test_the_workers_let_as_many_insights_run_as_the_pods_can_hold() -> None:
    for rate in (1, 10, 100):
        found = plan_capacity(rate, LOAD, RATES, MODELS, CHART)
        assert found.workers >= 2
        assert found.gateways >= 2
        assert found.workers * found.max_llm >= found.roles[0].replicas * RATES["llm"].batch
    assert plan_capacity(100, LOAD, RATES, MODELS, CHART).workers == 7  # 4.3 cores, 70 % busy


def test_a_full_gateway_or_a_core_that_the_chart_does_not_request_needs_another_pod() -> None:
    """256 streams a gateway and a quarter of a core, as in helm/values.yaml: 100 requests a second of 22 s are not for
    two gateways.
    """
    assert pod_limits() == PodLimits(256, 0.25, 0.25)
    load = Load(200, 300, 600)
    found = plan_capacity(100, load, RATES, MODELS, pod_limits())
    assert found.streams == pytest.approx(2247, abs=5)
    assert found.gateways_by == {"streams": 13, "cores": 8}
    assert (found.gateways, found.workers) == (13, 25)
    assert found.gateways * 256 * 0.7 >= found.streams
    assert plan_capacity(100, load, RATES, MODELS, PodLimits(256, 0.25, 0.25), 0.99).gateways == 9


def test_actions_are_those_of_the_request_and_a_heartbeat_every_three_seconds_of_an_activity() -> None:
    found = plan_capacity(10, LOAD, RATES, MODELS, CHART)
    at_once = {need.role: need.at_once for need in found.roles}
    heartbeats = (2 * at_once["llm"] + at_once["slm"]) / 3
    assert found.actions_per_second == pytest.approx(102 + heartbeats)
    assert found.transitions_per_second == pytest.approx(210 + heartbeats)
    half = plan_capacity(10, replace(LOAD, llm_share=0.5), RATES, MODELS, CHART)
    assert half.actions_per_second < 76 + heartbeats
    words = [
        "--profile",
        "deepseek-r1-32b-7b",
        "--llm-rate",
        "9000/1500",
        "--slm-rate",
        "20000/4000",
        "--llm-share",
        "0.5",
    ]
    told = json.loads(run(*words, "--json"))
    actions = told["capacity"][0]["actions_per_second"] / told["capacity"][0]["requests_per_second"]
    assert told["usd_of_actions_per_request"] == pytest.approx(actions * 50 / 1e6)
    assert f"USD {actions * 0.025:.2f} for 1,000 requests" in run(*words, "--usd-per-million-actions", "25")


def test_the_plan_agrees_with_the_recorded_bench_of_scaling() -> None:
    """Its processor time of a request at 8 at once, and Little's law, which counts the streams."""
    points = json.loads((RESULTS / "scaling.json").read_text())["points"]
    [at_eight] = [point for point in points if point["concurrent"] == 8]
    measured = at_eight["processor_ms_per_request"]["system"]
    assert pytest.approx(measured["gateway"], rel=0.05) == 1000 * GATEWAY_CORE_SECONDS
    assert pytest.approx(measured["worker"], rel=0.05) == 1000 * WORKER_CORE_SECONDS
    for point in points:
        in_flight = point["requests_per_second"]["system"] * point["latency_ms"]["p50"] / 1000
        assert in_flight == pytest.approx(point["concurrent"], rel=0.15)


def test_the_planned_pods_hold_what_a_simulation_of_a_hundred_pods_sends_them() -> None:
    found = planned(167)
    seen = peaks(found, np.random.default_rng(7))
    assert seen["pods"] > 100
    assert seen["most_streams_of_a_gateway"] <= pod_limits().gateway_streams
    assert seen["streams"] == pytest.approx(found.streams, rel=0.1)
    assert seen["redis_connections"] == pytest.approx(found.connections, rel=0.1)
    mean = found.transitions_per_second / SHARDS
    assert mean < seen["most_transitions_of_a_shard_per_second"] < 2 * mean


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["plan", "--capacity", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_takes_stated_rates_or_those_of_the_profile() -> None:
    stated = ("--profile", "deepseek-r1-32b-7b", "--llm-rate", "9000/1500", "--slm-rate", "20000/4000", "--batch", "64")
    found = json.loads(run(*stated, "--load", "200/500/1000", "--json"))
    assert [each["requests_per_second"] for each in found["capacity"]] == [1, 10, 100]
    expected = plan_capacity(10, LOAD, RATES, {role: Weights(n * 2, kv) for role, (n, kv) in {
        "llm": (32e9, 262144), "slm": (7e9, 57344), "scorer": (7e9, 57344)}.items()}, CHART)  # fmt: skip
    assert found["capacity"][1]["roles"] == [
        {field: getattr(need, field) for field in need.__slots__} for need in expected.roles
    ]
    measured = json.loads(run("--rps", "2", "--json"))  # the shipped profile has measured rates
    assert len(measured["capacity"]) == 1
    assert "GPU memory" in run("--rps", "2")


def test_without_rates_the_command_says_which_option_gives_them() -> None:
    assert "--llm-rate" in run("--profile", "deepseek-r1-32b-7b", code=2)
    assert "--load" in run("--load", "200", code=2)
    assert "--slm-rate" in run("--slm-rate", "fast", code=2)


def test_every_model_of_the_catalogue_states_its_cache() -> None:
    assert all(entry.kv_bytes_per_token for entry in catalogue().values())
