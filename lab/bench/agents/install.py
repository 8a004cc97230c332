"""Installs the agents into the cache folder, each in an environment of its own: what is there already stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable

from lab.bench.agents.catalog import FOLDER, Agent

WITHOUT = {
    "goose": "its releases are on GitHub alone: npm and PyPI have other packages of that name",
    "crush": "its npm package fetches its program from GitHub while it is installed",
    "kilo": "the registry lacks one of the packages with its program, @kilocode/cli-linux-x64-baseline-musl",
    "amp": "it needs its maker's server, which calls the models",
    "gemini-cli": "it speaks Google's own protocol alone",
}
"""By name, why an agent that people use cannot be tried here."""
_UV = os.environ.get("UV", "uv")


def install(agents: Iterable[Agent]) -> None:
    """Raises CalledProcessError where a registry does not have it."""
    for agent in agents:
        marker = agent.folder / "tandem-installed"
        if marker.is_file() and marker.read_text() == agent.package and agent.path.exists():
            continue
        print(f"installing {agent.package}", file=sys.stderr, flush=True)
        shutil.rmtree(agent.folder, ignore_errors=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        (_by_npm if agent.is_npm else _by_uv)(agent)
        marker.write_text(agent.package)


def _by_npm(agent: Agent) -> None:
    words = ["npm", "install", "--prefix", str(agent.folder), "--no-audit", "--no-fund", "--silent", agent.package]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def _by_uv(agent: Agent) -> None:
    subprocess.run([_UV, "venv", "--quiet", "--python", agent.python or sys.executable, str(agent.folder)], check=True)
    python = str(agent.folder / "bin" / "python")
    subprocess.run([_UV, "pip", "install", "--quiet", "--python", python, agent.package], check=True)
