"""`tandem models pull` as processes of their own, against a real hub: cut, killed, two at once, a full disk; and who
waits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.disks import mounted_disk
from tests.hub import Hub

ROOT = Path(__file__).parents[2]
WEIGHTS = os.urandom(300_000)
TOKENIZER = b'{"a": "tokenizer"}'
NAMES = {"scripted-llm": "org/large", "scripted-slm": "org/small"}
BIG = "/org/large/resolve/main/model.safetensors"


@pytest.fixture
def hub() -> Iterator[Hub]:
    """It has the two models of a profile, each with weights and a tokenizer."""
    hub = Hub()
    for repository in NAMES.values():
        hub.files |= {
            f"{repository}/config.json": b"{}",
            f"{repository}/model.safetensors": WEIGHTS,
            f"{repository}/tokenizer.json": TOKENIZER,
        }
    yield hub
    hub.close()


@pytest.fixture
def start(hub: Hub, tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """A `tandem models` command on a profile of its own, whose folder brings the models' catalogue."""
    folder = tmp_path / "profiles" / "scripted"
    shutil.copytree(ROOT / "tests" / "profiles" / "scripted", folder)
    rows = [
        f'["{name}"]\nkind = "snapshot"\nlicense = "MIT"\nbase = "{repository}"\nrepository = "{repository}"\n'
        for name, repository in NAMES.items()
    ]
    (folder / "models.toml").write_text("\n".join(rows))

    def start(*words: str, models: Path = tmp_path / "models") -> subprocess.Popen[str]:
        main = "import sys; sys.argv[0] = 'tandem'; from tandem.cli import main; main()"
        environment = {
            **os.environ, "HF_ENDPOINT": hub.url, "TANDEM_MODELS": str(models), "HF_HUB_DISABLE_TELEMETRY": "1",
            "TANDEM_PROFILES_PATH": str(tmp_path / "profiles"), "NO_COLOR": "1", "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", main, "models", *words, "--profile", "scripted"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    return start


def output_of(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    return output


def test_a_gateway_gets_the_tokenizer_and_no_weights(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    output_of(start("pull", "--tokenizer-only", "--only", "slm"))
    assert [path.name for path in (tmp_path / "models").glob("*/*") if path.parent.name[0] != "."] == ["tokenizer.json"]
    assert not [path for path in hub.requested if path.endswith((".safetensors", "config.json"))]
    output_of(start("pull", "--only", "slm"))  # a folder with a tokenizer alone is no model that is here
    assert (tmp_path / "models" / "scripted-slm" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_cut_pull_is_an_error_and_the_next_one_goes_on_at_its_byte(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    hub.cuts = [2, 123_456, *[0] * 20]  # the small file first, then the weights
    output = output_of(start("pull", "--only", "llm"), code=1)
    assert "the connection was lost" in output
    assert "Run the same command again to resume" in output
    assert not (tmp_path / "models" / "scripted-llm").exists()
    hub.cuts.clear()
    hub.ranges.clear()
    assert "ready" in output_of(start("pull", "--only", "llm"))
    assert "bytes=123456-" in hub.ranges
    assert "bytes=0-" not in hub.ranges[: hub.ranges.index("bytes=123456-")]
    assert (tmp_path / "models" / "scripted-llm" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_file_that_is_not_the_repositorys_is_refused_and_loaded_again(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    hub.served["org/large/model.safetensors"] = WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1])
    assert "model.safetensors is not the repository's: its hash differs" in output_of(
        start("pull", "--only", "llm"), code=1
    )
    hub.served.clear()
    output_of(start("pull", "--only", "llm"))
    assert (tmp_path / "models" / "scripted-llm" / "model.safetensors").read_bytes() == WEIGHTS


def test_two_pulls_at_once_download_each_model_once_and_a_third_command_waits_for_them(
    hub: Hub, start: Callable[..., subprocess.Popen[str]]
) -> None:
    waiting = start("wait", "--timeout", "100")
    both = [start("pull"), start("pull")]
    for process in both:
        output_of(process)
    assert "models are in" in output_of(waiting)
    assert [path for path in hub.requested if path.endswith("model.safetensors")].count(BIG) == 1
    assert "downloading" not in output_of(start("pull"))


def test_a_wait_for_models_that_nobody_downloads_ends_with_their_names(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    output = output_of(start("wait", "--timeout", "0", "--only", "slm"), code=1)
    assert "scripted-slm did not come into" in output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB: less than the two models, more than one."""
    with mounted_disk(tmp_path / "disk", 512 << 10) as folder:
        yield folder


def test_a_disk_that_is_too_small_is_named_before_anything_is_downloaded_and_room_heals_it(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], small_disk: Path
) -> None:
    blocker = small_disk / "something-else"
    blocker.write_bytes(b"x" * 400_000)
    output = output_of(start("pull", "--only", "llm", models=small_disk), code=1)
    assert re.search(r"scripted-llm needs 0\.3 MiB more in \S+, which has 0\.\d MiB free", output)
    assert "make room there" in output
    assert BIG not in hub.requested
    blocker.unlink()
    output_of(start("pull", "--only", "llm", models=small_disk))
    assert (small_disk / "scripted-llm" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_disk_that_fills_up_while_a_model_comes_is_an_error_and_what_came_is_kept(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], small_disk: Path
) -> None:
    hub.holds = "/org/large/resolve/main/model.safetensors"
    process = start("pull", "--only", "llm", models=small_disk)
    assert hub.is_held.wait(60)  # room was asked for; the weights have not come
    (small_disk / "something-else").write_bytes(b"x" * 400_000)
    hub.go_on.set()
    output = output_of(process, code=1)
    assert "cannot be written to" in output
    assert "No space left" in output
    (small_disk / "something-else").unlink()
    output_of(start("pull", "--only", "llm", models=small_disk))
    assert (small_disk / "scripted-llm" / "model.safetensors").read_bytes() == WEIGHTS


def test_a_killed_pull_leaves_no_lock_and_no_broken_model(
    hub: Hub, start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    hub.holds = BIG
    killed = start("pull", "--only", "llm")
    assert hub.is_held.wait(60)
    killed.kill()
    killed.wait(60)
    hub.holds = ""
    hub.go_on.set()
    began = time.monotonic()
    output_of(start("pull", "--only", "llm"))
    assert time.monotonic() - began < 60
    assert (tmp_path / "models" / "scripted-llm" / "model.safetensors").read_bytes() == WEIGHTS
