"""Benches: what a comparison of engines needs, and the bounds of answers against those of another engine or
processor.
"""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from lab.bench import peers
from lab.bench.answers import compared, faults
from lab.bench.engine import programs_of
from lab.training.collect import Run

N = 40


def runs(right: list[bool]) -> dict[str, Run]:
    return {str(i): Run(str(i), "", "llm", 0, 10, 0, 20, False, f"text {r}", f"{r}", r) for i, r in enumerate(right)}


def test_the_same_answers_are_within_the_bounds() -> None:
    same = runs([i % 2 == 0 for i in range(N)])
    figures = compared(same, same)
    assert (figures["n"], figures["same_outcome"], figures["same_text"]) == (N, 1, 1)
    assert faults(figures) == []


def test_a_worse_model_is_beyond_the_bounds() -> None:
    before = runs([True] * N)
    assert faults(compared(runs([i >= 8 for i in range(N)]), before)) == ["is worse than in the fixture by 20 points"]


def test_a_better_model_is_within_the_bounds() -> None:
    assert faults(compared(runs([True] * N), runs([i >= 8 for i in range(N)]))) == []


def test_other_outcomes_at_equal_accuracy_are_beyond_the_bounds() -> None:
    before, here = runs([i % 2 == 0 for i in range(N)]), runs([i % 4 < 2 for i in range(N)])
    assert faults(compared(here, before)) == ["has the fixture's outcome on only 50% of the questions"]


def test_questions_of_one_file_alone_are_left_out() -> None:
    assert compared(runs([True] * N), runs([True] * 30))["n"] == 30


def test_a_comparison_asks_only_for_the_peers_that_it_runs() -> None:
    assert programs_of(["llamacpp", "bfloat16", "llamacpp-server"]) == []
    assert programs_of(["llamacpp", "llamacpp-native-mapped"]) == [peers.llama_server()]
    assert programs_of(["vllm-float32"]) == [peers.vllm_python()]


def test_a_missing_peer_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.touch()
    peers.require([here])
    with pytest.raises(SystemExit, match=r"missing: .*gone; run `make peers`"):
        peers.require([here, tmp_path / "gone"])
