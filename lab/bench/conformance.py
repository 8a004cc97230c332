"""What each engine keeps of the promises that all engines make: the conformance tests' names, by engine, with how each ended.

`python -m lab.bench.conformance` runs the tests and writes docs/conformance.md. Engines that are not here (a GPU, vLLM) are told as such.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree  # nosec B405  # of a file that our own pytest wrote

from tandem.paths import REPOSITORY

_SUITES = "tests/integration/test_engine_conformance.py", "tests/integration/test_engine_schemas.py"
_PAGE = REPOSITORY / "docs" / "conformance.md"
_CASE = re.compile(r"test_(?P<name>\w+)\[(?P<backend>[a-z]+)(?:-(?P<rest>.*))?\]")
_HEAD = """\
# Conformance of engines

`python -m lab.bench.conformance` wrote this page: the tests that state what every engine promises
([Add an engine](add-an-engine.md)), on a small real checkpoint, and how they ended on one machine. `yes`: passed; a number
says why not, below.

"""


@dataclass(frozen=True, slots=True)
class Case:
    """A test of one engine. `why`: why it was skipped, or how it failed; empty where it passed."""

    name: str
    backend: str
    why: str


def main() -> None:
    cases = list(_run())
    _PAGE.write_text(_HEAD + _table(cases))
    print(f"{_PAGE.relative_to(REPOSITORY)}: {len(cases)} tests")
    sys.exit(any(case.why.startswith("fails") for case in cases))


def _run() -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.xml"
        words = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", f"--junitxml={file}", *_SUITES]
        subprocess.run(words, cwd=REPOSITORY, check=False)
        for case in ElementTree.parse(file).getroot().iter("testcase"):  # nosec B314
            if found := _CASE.fullmatch(case.get("name", "")):
                yield Case(_words(found["name"], found["rest"]), found["backend"], _why(case))


def _words(name: str, rest: str | None) -> str:
    return name.replace("_", " ") + (f" ({rest})" if rest else "")


def _why(case: ElementTree.Element) -> str:
    for child in case:
        if child.tag in ("failure", "error"):
            return f"fails: {child.get('message', '')[:100]}"
        if child.tag == "skipped":
            return child.get("message", "").removeprefix("Skipped: ")
    return ""


def _table(cases: list[Case]) -> str:
    """One row a test and one column an engine, and the reasons, numbered."""
    backends, names = list(dict.fromkeys(c.backend for c in cases)), list(dict.fromkeys(c.name for c in cases))
    reasons = list(dict.fromkeys(case.why for case in cases if case.why))
    ended = {(c.name, c.backend): str(reasons.index(c.why) + 1) if c.why else "yes" for c in cases}
    rows = [["promise", *backends], ["---"] * (len(backends) + 1)]
    rows += [[name, *(ended.get((name, backend), "") for backend in backends)] for name in names]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]) + "\n"


if __name__ == "__main__":
    main()
