"""`make gpu-check` in the form that it has without a GPU, and its checks on an engine of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.bench import gpu_check
from tests.integration.backends import tiny_engine


def test_the_check_of_gpus_skips_with_a_sentence_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu_check"])
    monkeypatch.setenv("PATH", str(tmp_path))  # neither nvidia-smi nor a program to install with
    gpu_check.main()
    assert capsys.readouterr().out.startswith("No NVIDIA GPU is here (nvidia-smi lists none), so nothing was checked.")
    broken = tmp_path / "nvidia-smi"
    broken.write_text("#!/bin/sh\necho no devices were found; exit 9\n")
    broken.chmod(0o755)
    assert gpu_check.gpus() == []
    broken.write_text("#!/bin/sh\necho 'NVIDIA H100 80GB HBM3, 580.95, 81559 MiB'\n")
    assert gpu_check.gpus() == ["NVIDIA H100 80GB HBM3, 580.95, 81559 MiB"]


@pytest.mark.asyncio(loop_scope="session")
async def test_the_checks_of_gpus_pass_on_an_engine_that_keeps_its_promises(checkpoint: Path) -> None:
    with tiny_engine(checkpoint) as engine:
        found = {check.__name__: await check(engine) for check in gpu_check.CHECKS}
    assert found["stop"]["tokens"] >= 20
    assert found["bill"] == {"prompt": 300, "cached": 0, "completion": found["bill"]["completion"]}
    assert found["long"]["prompt"] == engine.info.context_length - 520
