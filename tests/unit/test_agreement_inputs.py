"""Inputs that no model wrote, and when two results are equal."""

from __future__ import annotations

import pytest

from services.answer_checker.inside.values import encode
from services.shared.checks.inputs import Input, given_inputs, mutated_inputs
from services.shared.checks.python_agreement import Wanted, agree, wanted_of
from services.shared.checks.registry import applies, validate
from tandem.method.errors import InvalidArgument
from tandem.method.evidence.checks import CheckSpec

PROMPT = 'def f(a, b=None):\n    """Do.\n\n    >>> f([1, 2, 3], "ab")\n    3\n    f({"x": 1.5}) returns 2\n    """\n'


def test_the_arguments_of_every_form_of_example_are_inputs() -> None:
    found = given_inputs(PROMPT + "\nassert f((1, True), b=None) == 1\n", "f")
    assert found == [
        Input(([1, 2, 3], "ab")),
        Input(((1, True),), (("b", None),)),
        Input(({"x": 1.5},)),
    ]


def test_mutations_keep_every_type_are_all_different_and_come_out_the_same_again() -> None:
    given = [Input(([1, 2, 3], "ab", (4, "c"), {"k": 2.5}, {7, 8}, True, None, -3))]
    found = mutated_inputs(given, 60)
    assert found[0] == given[0]
    assert len({repr(each) for each in found}) == 60
    assert [each.is_given for each in found].count(True) == 1
    for each in found:
        assert [type(value) for value in each.arguments] == [type(value) for value in given[0].arguments]
        assert len(each.arguments[2]) == 2  # a tuple's places have meanings
        assert set(each.arguments[1]) <= {"a", "b"}
    assert mutated_inputs(given, 60) == found


def test_a_natural_number_stays_one_and_no_input_grows_without_end() -> None:
    found = mutated_inputs([Input((5, "abc" * 100, [1] * 150))], 200)
    assert min(each.arguments[0] for each in found) >= 0
    assert max(len(part) for each in found for part in each.arguments[1:]) <= 300
    assert mutated_inputs([], 10) == []
    assert mutated_inputs([Input(())], 10) == [Input(())]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1, 1, True),
        (1, 2, False),
        (0.1 + 0.2, 0.3, True),
        (1, 1.0, True),
        (float("nan"), float("nan"), True),
        (True, 1, False),
        ([1, 2], [2, 1], False),
        ([1], (1,), False),
        ({1, 2}, {2, 1}, True),
        ({"a": 1, "b": 2.0}, {"b": 2.0, "a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        (None, None, True),
        (None, [], False),
        ([0.1 + 0.2], [0.3], True),
        ([1], [1, 2], False),
        (object(), object(), None),
        ([object()], [object()], None),
        ("a", "a", True),
        (10**400, 1.5, False),
    ],
)
def test_results_are_equal_by_value_with_tolerance_for_floats_and_no_order_for_sets(
    one: object, other: object, expected: bool | None
) -> None:
    assert agree(encode(one), encode(other)) is expected


def test_the_argument_is_the_other_program_and_how_much_is_wanted() -> None:
    assert wanted_of("def f(): ...") == (Wanted(), "def f(): ...")
    assert wanted_of("# inputs=20 share=0.95 least=5\ndef f(): ...") == (Wanted(20, 0.95, 5), "def f(): ...")
    validate(CheckSpec("python_agreement", "# share=0.9\ndef f(): ..."))
    validate(CheckSpec("python_agreement", "# inputs=20"))  # the other program is the second small model's
    for wrong in (
        "# share=2\ndef f(): ...",
        "# inputs=5 least=9\ndef f(): ...",
        "def f(:",
        "# inputs=9999 least=1\nx = 1",
    ):
        with pytest.raises(InvalidArgument, match="python_agreement"):
            validate(CheckSpec("python_agreement", wrong))
    assert applies(CheckSpec("python_agreement", "def f(): ..."), PROMPT, "code")
    assert applies(CheckSpec("python_agreement"), PROMPT, "code")
    assert not applies(CheckSpec("python_agreement", "def f(): ..."), "def f(a):\n    ...", "code")
