"""`tandem batch` as a process of its own."""

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

from tests.conftest import Hold
from tests.integration.conftest import System, run_system
from tests.integration.test_batch import end, openai, plain

pytestmark = pytest.mark.asyncio(loop_scope="session")
_MAIN = "import sys; sys.argv[0] = 'tandem'; from tandem.cli import main; main()"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def batching(
    redis_url: str, temporal_address: str, profiles_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[System]:
    files = str(tmp_path_factory.mktemp("files"))
    async with run_system(
        "scripted", profiles_folder, redis_url, temporal_address, alias="batch", files=files
    ) as system:
        yield system


async def start(system: System, *arguments: str | Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "TANDEM_ADDRESS": system.client.address}
    command = [sys.executable, "-c", _MAIN, "batch", *map(str, arguments)]
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)


async def tandem(system: System, *arguments: str | Path) -> tuple[int, str, str]:
    """(exit code, output, errors)"""
    return await finished(await start(system, *arguments))


async def finished(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, errors = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), errors.decode()


def written(file: Path, lines: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


async def test_a_file_becomes_answers_and_the_same_command_again_asks_nothing(batching: System, tmp_path: Path) -> None:
    asked, out = written(tmp_path / "asked.jsonl", plain(5)), tmp_path / "out.jsonl"
    code, said, _ = await tandem(batching, asked, "--out", out)
    assert (code, "completed: 5 of 5 answered" in said) == (0, True)
    answers = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in answers] == [f"q{number}" for number in range(5)]
    out.unlink()
    before = batching.slm.counters.output_tokens
    code, said, errors = await tandem(batching, asked, "--out", out, "--json")
    assert (code, json.loads(said)["counts"]["answered"]) == (0, 5)
    assert "--again asks anew" in errors
    assert [json.loads(line) for line in out.read_text().splitlines()] == answers
    assert batching.slm.counters.output_tokens == before


async def test_ctrl_c_leaves_the_batch_running_and_says_how_to_come_back(
    batching: System, tmp_path: Path, hold: Hold
) -> None:
    asked = written(tmp_path / "asked.jsonl", plain(2, f"[scores=0:0.9 slm_eos=5 slm_hold=2:{hold}]"))
    out = tmp_path / "out.jsonl"
    process = await start(batching, asked, "--out", out, "--batch-id", "left")
    assert process.stdout
    assert b"left: 0 of 2" in await process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, errors = await finished(process)
    assert code == 1
    assert f"tandem batch follow left --out {out}" in errors
    assert not out.exists()
    _, status, _ = await tandem(batching, "status", "left", "--json")
    assert json.loads(status)["state"] == "running"
    hold.release()
    code, _, _ = await tandem(batching, "follow", "left", "--out", out)
    assert (code, len(out.read_text().splitlines())) == (0, 2)


async def test_requests_without_an_answer_are_written_too_and_the_command_fails(
    batching: System, tmp_path: Path
) -> None:
    lines = [openai("fine"), openai("broken", "[fail=slm scores=0:0.9]")]
    out = tmp_path / "out.jsonl"
    code, said, _ = await tandem(batching, written(tmp_path / "asked.jsonl", lines), "--out", out)
    assert (code, "1 of 2 answered, 1 failed" in said) == (1, True)
    assert [json.loads(line)["custom_id"] for line in out.read_text().splitlines()] == ["fine", "broken"]


async def test_bad_lines_are_named_and_the_batch_does_not_begin(batching: System, tmp_path: Path) -> None:
    asked = written(tmp_path / "asked.jsonl", [*plain(1), {"id": "b", "questoin": "?"}])
    code, _, errors = await tandem(batching, asked, "--out", tmp_path / "out.jsonl")
    assert (code, "line 2: questoin" in errors) == (2, True)
    assert not (tmp_path / "out.jsonl").exists()


async def test_a_batch_is_detached_listed_and_cancelled(batching: System, tmp_path: Path) -> None:
    asked = written(tmp_path / "asked.jsonl", plain(3, "[scores=0:0.9 slm_hold=2]"))
    code, said, _ = await tandem(batching, asked, "--out", tmp_path / "out.jsonl", "--detach", "--batch-id", "away")
    assert (code, said.strip()) == (0, "away")
    _, listed, _ = await tandem(batching, "list", "--json")
    assert "away" in [batch["batch_id"] for batch in json.loads(listed)]
    _, said, _ = await tandem(batching, "cancel", "away")
    assert "away cancelling" in said
    assert (await end(batching, "away")).counts.answered == 0
