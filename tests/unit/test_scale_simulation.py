"""The simulation of many requests a minute agrees with what is known of queues, and keeps its pods as busy as it
says.
"""

from __future__ import annotations

import numpy as np
import pytest

from lab.bench.scale import BUSY, CELL, Weight, simulated, waits_ms

ONLY_WORKER = Weight({"gateway": 0.0, "temporal": 0.0, "worker": 50.0, "redis": 0.0}, 100.0, 10.0, visits=1)


def test_waits_are_those_of_one_queue_with_one_server() -> None:
    pods = dict.fromkeys(ONLY_WORKER.processor_ms, 1)
    waits = waits_ms(10.0, ONLY_WORKER, pods, np.random.default_rng(1))
    # M/M/1: utilisation 0.5 of a server that takes 50 ms.
    assert np.mean(waits) == pytest.approx(50.0, rel=0.1)


def test_no_pod_is_busier_than_planned_and_no_cell_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.bench.scale._REQUESTS", 1_000)  # what is asserted depends on the plan, not on the waits
    weight = Weight({"gateway": 20.0, "temporal": 80.0, "worker": 50.0, "redis": 5.0}, 160.0, 10.0, visits=12)
    for per_second in (1.0, CELL, 10 * CELL):
        found = simulated(per_second, weight)
        assert max(found["busy"].values()) <= BUSY
        assert per_second / found["cells"] <= CELL
        assert found["redis_commands_per_second"] == pytest.approx(per_second * 160, rel=0.01)
