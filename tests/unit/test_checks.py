"""The registry of checks: built-in ones and those of other packages, their arguments, and when they apply."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.shared.checks.api import Check
from services.shared.checks.built_in import JSON_SCHEMA, REGEX
from services.shared.checks.registry import _installed, applies, checks, find_check, known_names, validate
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec, Verdict

DOCUMENT = (Path(__file__).parents[2] / "docs/add-a-check.md").read_text()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with the check of docs/add-a-check.md, as an installer lays it out."""
    install_documented_check(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    _installed.cache_clear()
    yield
    _installed.cache_clear()


def install_documented_check(folder: Path) -> None:
    [source] = re.findall(r"```python\n# my_checks.py\n(.*?)```", DOCUMENT, re.DOTALL)
    [group, entry] = re.search(r'\[project.entry-points."([\w.]+)"\]\n(even = .*)\n', DOCUMENT).groups()  # type: ignore[union-attr]
    (folder / "my_checks.py").write_text(source)
    information = folder / "my_checks-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: my-checks\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{group}]\n{entry.replace(chr(34), '')}\n")


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_a_check() -> None:
    compare = find_check(CheckSpec("even")).compare
    assert compare is not None
    assert compare("", "4", "").verdict is Verdict.PASS
    assert compare("", "5", "").detail == "5 is odd"
    assert "even" in known_names()
    assert applies(CheckSpec("even"), "How many?", "answer")


def test_an_unknown_check_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidArgument, match="no check is called 'even'; known: agreement, call, choice") as caught:
        validate(CheckSpec("even"))
    assert (caught.value.reason, caught.value.field) == ("UNKNOWN_CHECK", "checks")


def test_a_name_that_is_neither_check_nor_function_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        name = "broken"

        def load(self) -> object:
            return 3

    monkeypatch.setattr("services.shared.checks.registry.entry_points", lambda group: [Entry()])
    _installed.cache_clear()
    with pytest.raises(TypeError, match=r"'broken' of tandem\.checks is neither a Check nor a function"):
        checks()
    _installed.cache_clear()


@pytest.mark.parametrize(
    ("name", "argument", "problem"),
    [
        ("regex", "(", "regex: no regular expression"),
        ("choice", "\n \n", "choice: no options"),
        ("json_schema", "{", "json_schema: no JSON schema"),
        ("json_schema", '{"type": 3}', "json_schema: no JSON schema"),
        ("json_schema", "[" * 100_000, "json_schema: no JSON schema"),
        ("python_examples", "add up", "python_examples: neither Python nor lines with >>>"),
        ("agreement", "1", "agreement: agreement compares at least 2"),
        ("agreement", "two", "agreement: "),
    ],
)
def test_an_argument_that_a_check_cannot_use_is_refused(name: str, argument: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{re.escape(problem)}") as caught:
        validate(CheckSpec(name, argument))
    assert caught.value.field == "checks"


@pytest.mark.parametrize(
    ("spec", "question", "task", "expected"),
    [
        (CheckSpec("python_examples"), "def f(x):\n    # f(1) == 2\n    ...", "code", True),
        (CheckSpec("python_examples"), "def f(x):\n    # f(1) == 2\n    ...", "answer", False),
        (CheckSpec("python_examples"), "def f(x):\n    ...", "code", False),
        (CheckSpec("python_examples", "assert f(1) == 2"), "Write f.", "code", True),
        (CheckSpec("python_examples", "import math"), "Write f.", "code", False),
        (CheckSpec("python_examples", "min=2"), "def f(x):\n    # f(1) == 2\n    ...", "code", False),
        (CheckSpec("python_examples", "min=2"), "def f(x):\n    # f(1) == 2\n    # f(2) == 3\n    ...", "code", True),
        (CheckSpec("python_examples", "weight=2"), "def f(x):\n    # f(1) == 2\n    ...", "code", False),
        (
            CheckSpec("python_examples", "weight=2"),
            "def f(x):\n    # f(1) == 2\n    # f(2) == 3\n    ...",
            "code",
            True,
        ),
        (CheckSpec("python_examples", "weight=2"), "def f(x):\n    # f(1) == 'b'\n    ...", "code", True),
        (CheckSpec("python_examples", "min=2"), "def f(x):\n    # f(1) == 'b'\n    ...", "code", False),
        (CheckSpec("regex"), "How many?", "answer", False),
        (CheckSpec("regex", r"\d+"), "How many?", "answer", True),
        (CheckSpec("choice"), "Which?", "answer", False),
        (CheckSpec("json_schema", "{}"), "List them.", "answer", True),
        (CheckSpec("agreement"), "How many?", "answer", True),
    ],
)
def test_a_check_applies_where_it_has_something_to_compare_with(
    spec: CheckSpec, question: str, task: str, expected: bool
) -> None:
    assert applies(spec, question, task) is expected  # type: ignore[arg-type]


def test_a_schema_never_asks_another_host() -> None:
    check: Check = checks()["json_schema"]
    assert check.compare is not None
    with pytest.raises(Exception, match=r"localhost:1/schema|Unresolvable"):
        check.compare("", "1", '{"$ref": "http://localhost:1/schema"}')


@pytest.mark.parametrize("answer", ["NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "[-1e400]"])
def test_a_number_that_json_does_not_have_follows_no_schema(answer: str) -> None:
    assert JSON_SCHEMA.compare
    assert JSON_SCHEMA.compare("?", answer, "{}").verdict == Verdict.FAIL


@pytest.mark.parametrize(
    ("pattern", "answer", "passes"),
    [
        (r"\d+\$", "I pay 5$", False),
        (r"\d+\$", "5$", True),
        (r"\d\\$", "x 5\\", True),
        (r"a\\Z", "b a\\Z", False),
        (r"5\Z", "x 5", True),
    ],
)
def test_an_escaped_sign_is_no_anchor_of_a_pattern(pattern: str, answer: str, passes: bool) -> None:
    assert REGEX.compare
    assert (REGEX.compare("?", answer, pattern).verdict == Verdict.PASS) is passes
