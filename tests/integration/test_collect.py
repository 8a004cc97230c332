"""`tandem collect` with a small real model on llama.cpp: its choices, its progress, and its end by a signal, for which
it is a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from lab.training.store import read
from tests.command import tandem

N = 12
PROFILE = """
name = "tiny"
description = "a small real model, twice"
handoff = "continuation"
max_question_tokens = 400
max_conversation_tokens = 600
llm = { name = "tiny-large", parameters = 3e6 }
slm = { name = "tiny-small", parameters = 1e6 }
prompts = { question = "{question}", code = "complete {question}", json = "{question} by {schema}" }
stop = { scorer = "untrained", stage_zero = true, stage_zero_threshold = 0.8 }
execution = { max_tokens = 32, answer_format = "boxed" }
llm_alone = { output_tokens = 100 }
stages = [{ name = "one", max_tokens = 16, threshold = 0.8 }]

[prices]
version = "test"
llm = { input = 3, cached_input = 1, output = 6 }
slm = { input = 1, cached_input = 0.5, output = 2 }
scorer = { input = 1, cached_input = 0.5, output = 2 }
"""


@pytest.fixture(scope="module")
def home(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pair's models and profile, and questions."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "models").mkdir()
    for name in ("tiny-large", "tiny-small"):
        (folder / "models" / name).symlink_to(checkpoint)
    (folder / "profiles" / "tiny").mkdir(parents=True)
    (folder / "profiles" / "tiny" / "profile.toml").write_text(PROFILE)
    lines = [json.dumps({"id": f"q{i}", "question": f"What is {i} + {i}?", "answer": f"{2 * i}"}) for i in range(N)]
    (folder / "sums.jsonl").write_text("\n".join(lines))
    return folder


def words(home: Path, out: Path, *options: str) -> list[str]:
    return ["collect", str(home / "sums.jsonl"), "--profile", "tiny", "--only-question", "--out", str(out), *options]


def variables(home: Path) -> dict[str, str]:
    return {
        "TANDEM_MODELS": str(home / "models"), "TANDEM_PROFILES_PATH": str(home / "profiles"), "TANDEM_ENGINE": "",
    }  # fmt: skip


def collected(home: Path, out: Path, *options: str) -> tuple[int, str, str]:
    """How it ends and what it says, on one line each."""
    done = tandem(*words(home, out, *options), **variables(home))
    return done.returncode, done.stdout, " ".join(done.stderr.split())


def test_a_collection_that_is_ended_keeps_what_is_done_and_goes_on_there(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "sums.parquet"
    command = [str(Path(sys.executable).with_name("tandem")), *words(home, out, "--width", "1")]
    environment = {**os.environ, **variables(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    assert [f"{done} of {N}" in line for done, line in enumerate(lines)] == [True, True], lines
    assert "tokens/s" in lines[1]
    assert "left" in lines[1]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM, err
    assert f"what is done is in {out}" in " ".join(err.split())
    origin, runs = read(out)
    done = {run.question for run in runs}
    assert 1 <= len(done) < N
    assert sorted((run.question, run.name) for run in runs) == sorted(
        (q, name) for q in done for name in ("llm", "slm")
    )
    assert origin.engine == "llamacpp"  # what serves such a model here; nobody named it

    code, text, err = collected(home, out)
    assert code == 0, err
    assert f"{len(done)} of {N}" in text
    assert f"{N} of {N}" in text
    origin, again = read(out)
    assert [run.text for run in again[: len(runs)]] == [run.text for run in runs]
    assert len({run.question for run in again}) == N


def test_the_engine_of_a_file_goes_on_with_it(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "sums.parquet"
    code, _, err = collected(home, out, "--engine", "transformers", "--n", "2", "--width", "2")
    assert code == 0, err
    code, _, err = collected(home, out, "--n", "4")
    assert code == 0, err
    assert f"{out} has answers of transformers" in err
    assert len(read(out)[1]) == 2 * 4
    code, _, err = collected(home, out, "--n", "5", "--engine", "llamacpp")
    assert code == 1
    assert "was made with another engine" in err
