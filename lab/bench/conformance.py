"""What each engine keeps of the promises that all engines make: the conformance tests' names, by engine, with how each
ended.

`python -m lab.bench.conformance` runs the tests and writes docs/conformance.md. Engines that are not here (a GPU; vLLM
without `make peers`) are told as such.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree  # nosec B405  # of a file that our own pytest wrote

from lab.bench import peers
from tandem.paths import REPOSITORY

_SUITES = "tests/integration/test_engine_conformance.py", "tests/integration/test_engine_schemas.py"
_PAGE = REPOSITORY / "docs" / "conformance.md"
_CASE = re.compile(r"test_(?P<name>\w+)\[(?P<backend>[a-z]+)(?:-(?P<rest>.*))?\]")
_HEAD = """\
# Conformance of engines

`python -m lab.bench.conformance` wrote this page: the tests that state what every engine promises
([Add an engine](add-an-engine.md)), on a small real checkpoint, and how they ended on one machine. `yes`: passed; a number
says why not, below.

"""  # noqa: E501


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
    """Of this Python, and then of vLLM's own, which has no other place beside our torch (`make peers`)."""
    yield from _cases(sys.executable)
    if (python := peers.vllm_python()).is_file():
        yield from _cases(str(python), "-k", "vllm")


def _cases(python: str, *more: str) -> Iterator[Case]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.xml"
        words = [python, "-m", "pytest", "-q", "-p", "no:randomly", f"--junitxml={file}", *more, *_SUITES]
        subprocess.run(words, cwd=REPOSITORY, env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1"}, check=False)
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
    last = {(c.name, c.backend): c.why for c in cases}
    reasons = list(dict.fromkeys(why for why in last.values() if why))
    ended = {case: str(reasons.index(why) + 1) if why else "yes" for case, why in last.items()}
    rows = [["promise", *backends], ["---"] * (len(backends) + 1)]
    rows += [[name, *(ended.get((name, backend), "") for backend in backends)] for name in names]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1))]) + "\n"


if __name__ == "__main__":
    main()
