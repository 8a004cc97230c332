"""The last lines of a run: why tests were skipped, and how its order is repeated."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Each reason to skip is one line with its count; a reason names the command that would run its tests, where there
    is one.

    `-q` hides the header, in which pytest-randomly names the order of this run.
    """
    skipped = Counter(map(_reason, terminalreporter.stats.get("skipped", ())))
    if skipped:
        terminalreporter.section("skipped, by reason")
    for reason, count in skipped.most_common():
        terminalreporter.write_line(f"{count:6}  {reason}")
    if (seed := config.getoption("randomly_seed", None)) is not None:
        terminalreporter.write_line(f"this order again: pytest --randomly-seed={seed}")


def _reason(report: pytest.TestReport) -> str:
    """Of a skipped test, or of a test that was expected to fail and did."""
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
