"""`tandem eval --through-batch` against a real system; the run that is interrupted is a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.command import tandem
from tests.conftest import Hold
from tests.integration.conftest import System, run_system

pytestmark = pytest.mark.asyncio(loop_scope="session")
_MAIN = "import sys; sys.argv[0] = 'tandem'; from tandem.cli import main; main()"
RIGHT, WRONG = (rf"[scores=0:0.9 slm=\boxed{{{answer}}} slm_eos=11]" for answer in (18, 17))
WITH_INSIGHT = r"[scores=0:0.2,16:0.9 slm=\boxed{18} slm_eos=11]"
BROKEN = "[fail=slm scores=0:0.9]"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def serving(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    files = str(tmp_path_factory.mktemp("files"))
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, alias="eval", files=files
    ) as system:
        yield system


def options_of(data: Path, *more: str) -> list[str]:
    given = ["--data", data, "--profile", "scripted-eval", "--through-batch", *more]
    return ["eval", *map(str, given)]


async def ended(system: System, data: Path, *more: str) -> tuple[int, str, str]:
    """(exit code, output, errors)"""
    done = await asyncio.to_thread(tandem, *options_of(data, *more), TANDEM_ADDRESS=system.client.address)
    return done.returncode, done.stdout, done.stderr


async def evaluate(system: System, data: Path, *more: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, figures, errors)"""
    code, out, errors = await ended(system, data, "--json", "-", *more)
    return code, json.loads(out) if out.startswith("{") else {}, errors


def questions(folder: Path, *scripts: str) -> Path:
    file = folder / "sums.jsonl"
    lines = [{"id": str(n), "question": f"{script} {n}", "answer": "18"} for n, script in enumerate(scripts)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


async def test_the_answers_are_graded_and_their_bills_are_the_cost(serving: System, tmp_path: Path) -> None:
    data = questions(tmp_path, RIGHT, WRONG, WITH_INSIGHT, RIGHT)
    code, figures, _ = await evaluate(serving, data)
    assert code == 0
    ours, batch = figures["methods"]["tandem"], figures["batch"]
    assert (ours["n"], ours["accuracy"], ours["truncated"]) == (4, 0.75, 0)
    assert ours["stop_stages"] == {"0": 3, "1": 1, "2": 0, "3": 0, "llm": 0}
    results = [(await serving.client.get(f"{batch['batch_id']}.{number}")).result for number in range(1, 5)]
    cost = sum(result.cost.usd for result in results)
    assert batch["usd"] == pytest.approx(cost, abs=1e-12)
    assert ours["usd"] == pytest.approx(cost / 4)
    assert ours["tflops_full"] == pytest.approx(sum(result.cost.tflops_full for result in results) / 4)
    alone = sum(result.cost.usd_llm_alone for result in results)
    assert figures["llm_alone"]["cost_ratios"]["usd"][0] == pytest.approx(cost / alone)
    code, report, _ = await ended(serving, data, "--report")
    assert code == 0
    assert "| 75.0 [30.1, 95.4] % |" in report
    assert "Every question was answered." in report


async def test_the_same_command_again_asks_nothing_and_another_order_of_it_neither(
    serving: System, tmp_path: Path
) -> None:
    data = questions(tmp_path, RIGHT, WRONG, "[scores=0:0.9 slm_eos=4] again")
    _, first, _ = await evaluate(serving, data, "--concurrency", "2")
    generated = serving.slm.counters.output_tokens
    _, second, errors = await evaluate(serving, data, "--concurrency", "2")
    assert (second, serving.slm.counters.output_tokens) == (first, generated)
    assert "--again asks anew" in errors
    _, third, _ = await evaluate(serving, data, "--concurrency", "2", "--again")
    assert third["batch"]["batch_id"] != first["batch"]["batch_id"]
    assert serving.slm.counters.output_tokens > generated


async def test_an_interrupted_run_is_gone_on_with_and_pays_once(serving: System, tmp_path: Path, hold: Hold) -> None:
    data = questions(tmp_path, RIGHT, rf"[scores=0:0.9 slm=\boxed{{18}} slm_eos=11 slm_hold=2:{hold}]")
    before = serving.slm.counters.output_tokens
    pipe, address = asyncio.subprocess.PIPE, {"TANDEM_ADDRESS": serving.client.address}
    command = [sys.executable, "-c", _MAIN, *options_of(data)]
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={**os.environ, **address})
    assert process.stdout
    while b" of 2, $" not in (line := await process.stdout.readline()):
        assert line, "the command ended"
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, b"the same command comes back to it" in errors) == (1, True)
    hold.release()
    code, said, _ = await ended(serving, data)
    assert code == 0
    assert "2 of 2 answered" in said
    assert "tandem  100.0%" in " ".join(said.split(" ")).replace("   ", "  ")
    assert serving.slm.counters.output_tokens - before == 2 * 11


async def test_questions_without_an_answer_are_counted_apart_and_the_command_fails(
    serving: System, tmp_path: Path
) -> None:
    data = questions(tmp_path, RIGHT, BROKEN)
    code, figures, _ = await evaluate(serving, data)
    assert (code, figures["unanswered"], figures["methods"]["tandem"]["n"]) == (1, {"slm_unavailable": 1}, 1)
    code, report, _ = await ended(serving, data, "--report")
    assert (code, "1 slm_unavailable" in report) == (1, True)
    code, figures, errors = await evaluate(serving, questions(tmp_path, BROKEN))
    assert (code, figures, "no question was answered" in errors) == (1, {}, True)


async def test_a_budget_ends_the_questions_and_what_was_answered_is_evaluated(serving: System, tmp_path: Path) -> None:
    dear = RIGHT.replace("slm_eos=11", "slm_eos=60")
    data = questions(tmp_path, *[dear] * 30)
    code, figures, errors = await evaluate(serving, data, "--max-cost", "0.0025", "--concurrency", "1")
    assert figures, errors
    answered = figures["methods"]["tandem"]["n"]
    assert (code, figures["batch"]["state"], figures["unanswered"]) == (
        1, "budget_exhausted", {"budget_exhausted": 30 - answered},
    )  # fmt: skip
    assert 0 < answered < 30


async def test_a_profile_that_is_not_served_is_named(serving: System, tmp_path: Path) -> None:
    code, _, errors = await ended(serving, questions(tmp_path, RIGHT), "--profile", "scripted")
    assert code == 1
    assert "does not serve the profile scripted; it serves scripted-eval" in errors
