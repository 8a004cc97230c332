"""Benches: what a comparison of engines needs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from lab.bench import peers
from lab.bench.engine import programs_of
from lab.bench.replayed import real_tasks


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


def test_each_task_with_tools_has_a_reply_of_the_large_model_to_replay() -> None:
    tasks = real_tasks("calls", 276, seed=0)
    assert all(task.question and task.tools and task.replies["llm"] for task in tasks)
    assert len({task.id for task in tasks}) == 276
