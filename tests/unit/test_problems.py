"""What pydantic finds wrong is said in words for people, everywhere: the place and the message alone."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from services.models.model_process import open_engine
from services.shared.sealing.keys import read_keys
from services.sufficiency_scorer.artefact import DESCRIPTION, WEIGHTS, Artefact
from tandem.endpoints.address import parse
from tandem.method.evidence.python_parser import parse_program
from tandem.method.problems import problems

ROOT = Path(__file__).parents[2]
GIVEN = "a-text-of-the-users"


class Inner(BaseModel):
    number: int


class Outer(BaseModel):
    inner: list[Inner]
    name: str


def found_in(given: object) -> str:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate(given)
    return problems(raised.value)


def test_each_problem_has_its_place_and_its_message_and_nothing_of_the_value() -> None:
    said = found_in({"inner": [{"number": 1}, {"number": GIVEN}]})
    first, second = said.split("; ")
    assert first.startswith("inner.1.number: Input should be a valid integer")
    assert second == "name: Field required"
    assert GIVEN not in said
    assert "pydantic" not in said


def test_a_problem_of_the_whole_has_no_place() -> None:
    with pytest.raises(ValidationError) as raised:
        Outer.model_validate_json("{")
    assert problems(raised.value).startswith("Invalid JSON")


def test_of_many_problems_the_first_ones_are_said_and_the_others_counted() -> None:
    said = found_in({"name": "", "inner": [{}] * 5_000})
    assert said.endswith("; and 4990 more")
    assert len(said) < 1_000


def test_another_error_says_its_own_message() -> None:
    assert problems(OSError("no such file")) == "no such file"


def _keys(folder: Path) -> object:
    (folder / "keys.json").write_text(f'{{"{GIVEN}": 1}}')
    return read_keys(str(folder / "keys.json"))


def _scorer(folder: Path) -> object:
    (folder / WEIGHTS).touch()
    (folder / DESCRIPTION).write_text(f'{{"{GIVEN}": 1}}')
    return Artefact.load(folder)


def _engine(folder: Path) -> object:
    return open_engine("openai", {"max_batch": GIVEN, "path": folder})


def _address(folder: Path) -> object:
    return parse(f"http://{GIVEN}/v1?key=1#model")


READERS: dict[str, Callable[[Path], object]] = {
    "keys": _keys,
    "scorer": _scorer,
    "engine": _engine,
    "address": _address,
}


@pytest.mark.parametrize("name", READERS)
def test_a_file_or_setting_that_cannot_be_read_is_told_without_pydantics_address(name: str, tmp_path: Path) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - each reader has its own
        READERS[name](tmp_path)
    said = str(raised.value)
    assert "pydantic" not in said
    assert "input_value" not in said
    assert len(said.splitlines()) == 1


def _handlers() -> Iterator[tuple[str, ast.ExceptHandler]]:
    for top in ("tandem", "services", "workflows", "lab"):
        for path in sorted((ROOT / top).rglob("*.py")):
            text = path.read_text()
            if "pydantic import" in text:
                for node in ast.walk(parse_program(text)):
                    if isinstance(node, ast.ExceptHandler) and node.type and node.name:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def _is_printed(name: str, node: ast.AST) -> bool:
    """Whether an error goes as it is into a text: `f"{error}"` or `str(error)`."""
    if isinstance(node, ast.FormattedValue):
        return isinstance(node.value, ast.Name) and node.value.id == name
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "str"
        and any(isinstance(given, ast.Name) and given.id == name for given in node.args)
    )


def test_no_handler_of_pydantics_errors_prints_one_as_it_is() -> None:
    raw = [
        place
        for place, handler in _handlers()
        if "ValidationError" in ast.unparse(handler.type or handler)
        and any(_is_printed(handler.name or "", node) for node in ast.walk(handler))
    ]
    assert raw == []
