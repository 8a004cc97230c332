"""A batch outlives the processes that it runs in, and pays for nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.local.supervisor import Stack
from tests.e2e.batches import run_batch, scripted_questions

pytestmark = pytest.mark.timeout(900)
_QUESTIONS = 200  # enough that each victim is killed while others still wait, also on a fast machine
VICTIMS = ("worker", "temporal", "http-gateway")  # without the last one the batch goes on, and might end too soon


def test_every_question_is_answered_once_although_processes_are_killed_and_its_cost_is_the_sum_of_the_bills(
    tmp_path: Path, stack: Stack
) -> None:
    seen = run_batch(stack, scripted_questions(_QUESTIONS, seed=1), tmp_path, 8, VICTIMS)
    assert set(seen["killed"]) == set(VICTIMS)
    assert (seen["state"], seen["answered_once"], seen["counts"]["answered"]) == ("completed", _QUESTIONS, _QUESTIONS)
    assert seen["different_answers"] == 0
    assert seen["batch_usd"] == pytest.approx(seen["bills_usd"], abs=1e-12)
    assert seen["output_usd"] == pytest.approx(seen["bills_usd"], abs=1e-12)


def test_a_batch_outlives_everything_at_once(tmp_path: Path, stack: Stack) -> None:
    seen = run_batch(stack, scripted_questions(40, seed=2), tmp_path, 8, ("everything",))
    assert (seen["state"], seen["answered_once"], set(seen["killed"])) == ("completed", 40, {"everything"})
    assert seen["batch_usd"] == pytest.approx(seen["bills_usd"], abs=1e-12)
