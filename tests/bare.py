"""Tandem as a user installs it: the wheel in an empty environment, without the repository on the path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
_AWAY = ("error sending request", "Failed to fetch", "dns error", "client error", "Could not connect")


def find_uv() -> str:
    """Skips the test where there is no uv; `make` installs one into .tools."""
    found = shutil.which("uv", path=os.pathsep.join([str(ROOT / ".tools/bin"), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip("needs uv: `pip install uv`")
    return found


def uv(*arguments: str) -> str:
    """Its standard output. Skips the test where no package index can be reached."""
    done = subprocess.run([find_uv(), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode and any(words in done.stderr for words in _AWAY):
        pytest.skip("needs a package index")
    assert done.returncode == 0, done.stderr
    return done.stdout


def build_wheel(folder: Path) -> Path:
    uv("build", "--quiet", "--wheel", "--out-dir", str(folder))
    [wheel] = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True, slots=True)
class BareEnvironment:
    """An environment that contains the wheel and its dependencies."""

    folder: Path

    @classmethod
    def create(cls, folder: Path, wheel: Path, python: str) -> BareEnvironment:
        """`python`: a version or a path."""
        uv("venv", "--quiet", "--no-project", "--python", python, str(folder))
        uv("pip", "install", "--quiet", "--compile-bytecode", "--python", str(folder / "bin/python"), str(wheel))
        return cls(folder)

    def run(self, program: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A program of the environment, started outside the repository and with no variable that leads back to it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "TANDEM_", "OTEL_", "VIRTUAL_ENV"))}
        state = {"TANDEM_STATE": str(self.folder / "state")}  # no local stack, whatever runs on this machine
        return subprocess.run(
            [str(self.folder / "bin" / program), *arguments],
            cwd=self.folder,
            env={**kept, **state, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def python(self, code: str) -> str:
        done = self.run("python", "-c", code)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def tandem(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("tandem", *arguments, **environment)

    def ask(self, gateway: str, question: str, *options: str) -> dict[str, Any]:
        """`tandem ask --json` at a running gateway (host:port)."""
        done = self.tandem("ask", "--json", *options, question, TANDEM_ADDRESS=gateway)
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout)
        return result
