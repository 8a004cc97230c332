"""A Tandem stack in an empty state folder whose two models are the scripted vendor's, at the price list's prices."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.bench.agents.vendor import LARGE, SMALL
from tandem.local.supervisor import Stack
from tests.stacks import started_stack

PAIR = "pair"


@contextmanager
def vendor_stack(url: str, vendor: str) -> Iterator[Stack]:
    """`vendor`: openai or anthropic, whose prices and protocol the models have. The stack serves the pair PAIR."""
    with tempfile.TemporaryDirectory(prefix="tandem-agents-") as folder:
        variables = {
            "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "none", "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "none", "TANDEM_PROFILES_PATH": folder, "TANDEM_STATE": f"{folder}/state",
        }  # fmt: skip
        tandem = str(Path(sys.executable).with_name("tandem"))
        models = [f"--large={vendor}:{LARGE[vendor]}", f"--small={vendor}:{SMALL[vendor]}"]
        command = [tandem, "profile", "new", "--name", PAIR, *models]
        subprocess.run(command, env=os.environ | variables, check=True, stdout=subprocess.DEVNULL)
        with started_stack(PAIR, variables) as stack:
            yield stack


def http_address(stack: Stack) -> str:
    return f"http://{stack.address('http-gateway')}"
