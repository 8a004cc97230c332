"""One agent's task, in a folder and a home of its own."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.bench.agents.catalog import Agent, Place
from lab.bench.agents.script import FILE, RIGHT, WRONG

SECONDS = 240
_KEPT = ("PATH", "LANG", "TERM", "TMPDIR")


@dataclass(frozen=True)
class Ended:
    """`said` is the end of what the agent printed."""

    finished: bool
    code: int
    seconds: float
    said: str


def run_agent(agent: Agent, url: str, protocol: str, model: str, small: str) -> Ended:
    with tempfile.TemporaryDirectory(prefix="tandem-agent-", ignore_cleanup_errors=True) as folder:
        home, work = Path(folder) / "home", Path(folder) / "work"
        work.mkdir()
        home.mkdir()
        (work / FILE).write_text(f"{WRONG}\n")
        subprocess.run(["git", "init", "-q", str(work)], check=True)
        run = agent.run(Place(url, model, small, protocol, home, work))
        for name, text in run.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text)
        code, seconds, said = _ended([str(agent.path), *run.arguments], work, _environment(home, run.variables))
        is_right = (work / FILE).read_text().strip() == RIGHT
    return Ended(is_right and code == 0, code, seconds, said)


def _environment(home: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the user's: no key, no settings."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    folders = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), "XDG_DATA_HOME": str(home / ".data")}
    return {**kept, **folders, "CI": "true", "NO_COLOR": "1", **variables}


def _ended(command: list[str], work: Path, environment: dict[str, str]) -> tuple[int, float, str]:
    began = time.monotonic()
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            code = 124
        _end_group(process)
        printed.seek(0)
        said = printed.read().decode(errors="replace")[-2000:]
    return code, time.monotonic() - began, said


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """With whatever it left behind: some keep a process for the next run."""
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        return
    process.wait()
