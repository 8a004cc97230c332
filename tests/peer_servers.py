"""Servers of others as processes: waited for, asked for their own counters, and ended."""

from __future__ import annotations

import contextlib
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families


@contextlib.contextmanager
def serving(process: subprocess.Popen[bytes], health: str, seconds: float, log: Path | None = None) -> Iterator[None]:
    """Once the URL `health` answers, within so many seconds; the process is ended afterwards. `log`: what is shown of
    one that ends by itself.
    """
    from tests.conftest import wait_until  # which imports much that the servers need not

    def answers() -> bool:
        assert process.poll() is None, log.read_text()[-2000:] if log else f"the server of {health} has ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(health, timeout=2):
            return True
        return False

    try:
        wait_until(answers, seconds)
        yield
    finally:
        process.terminate()
        process.wait()


def counter(url: str, name: str) -> int:
    """The sum of a counter that the server of OpenAI's API at `url` exports."""
    with urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics") as reply:
        families = list(text_string_to_metric_families(reply.read().decode()))
    return int(sum(sample.value for family in families for sample in family.samples if sample.name == name))
