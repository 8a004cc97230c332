"""The examples that are found in prompts, and those that are not."""

from __future__ import annotations

import pytest

from tandem.method.evidence.examples import MAX_EXAMPLES, Example, Form, argument_examples, find_examples, weight
from tandem.method.evidence.prompt_code import parse_prompt

CALL, SESSION, STATEMENT = Form.CALL, Form.SESSION, Form.STATEMENT


def prompt(text: str, header: str = "def f(a, b=0):") -> str:
    body = "\n".join(f"    {line}" for line in text.splitlines())
    return f'{header}\n    """\n{body}\n    """\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f(1, 2) == 3", "3"),
        ("f(1, 2) => 3", "3"),
        ("f(1, 2) ==> 3", "3"),
        ("f(1, 2) -> 3", "3"),
        ("f(1, 2) ➞ 3", "3"),
        ("f(1, 2) → [1, 'a, b']", "[1, 'a, b']"),
        ("f(1, 2) returns 3.", "3"),
        ("f(1, 2) # 3", "3"),
        ("f(1, 2) # => 3", "3"),
        ("f(1, 2) = 3", "3"),
        ("f(1, 2) should be 3, of course", "3"),
        ("f(1, 2) should return {'a': (1, 2)}", "{'a': (1, 2)}"),
        ("`f(1, 2)` is `True`", "True"),
        ("f(1, 2) => true", "True"),
        ("* f(1, 2) => -3", "-3"),
        ("For example, f(1, 2) == 'a'.", "'a'"),
        ("print(f(1, 2)) # 3", "3"),
    ],
)
def test_a_call_and_its_value_are_an_example_in_the_usual_forms(text: str, expected: str) -> None:
    assert find_examples(prompt(text)) == [Example(CALL, "f(1, 2)", expected)]


@pytest.mark.parametrize(
    "text",
    [
        "f(1, 2) == 3 + 4",
        "f(1, 2) = 1 + 2 = 3",
        "f(x) == 3",
        "f(1, 2) is even",
        "1 + f(1, 2) == 3",
        "len(f(1, 2)) == 3",
        "not f(1, 2) == 3",
        "g(1, 2) == 3",
        "f(1, 2) == three",
        'f(1, 2) == ""abc"',
        "f(n) = f(n - 1) + 1\nf(1) = 3",
        "f(1, 2",
    ],
)
def test_a_formula_or_words_are_no_example(text: str) -> None:
    assert find_examples(prompt(text)) == []


def test_sessions_are_found_with_several_lines_and_exceptions() -> None:
    text = (
        ">>> f(1,\n...   2)\n3\n>>> f(0)\nTraceback (most recent call last):\n    ...\nValueError: no\n\n"
        ">>> for i in range(2):\n...     print(f(i))\n1\n2\n"
    )
    assert find_examples(prompt(text)) == [
        Example(SESSION, "f(1,\n  2)", "3"),
        Example(SESSION, "f(0)", "Traceback (most recent call last):\n    ...\nValueError: no"),
        Example(SESSION, "for i in range(2):\n    print(f(i))", "1\n2"),
    ]


def test_lines_of_a_session_keep_their_place_and_belong_to_their_statement() -> None:
    [example] = find_examples(prompt(">>> for i in range(2):\n...     f(i)\n...     print(i)\n...\n 0\n1\n"))
    assert example == Example(SESSION, "for i in range(2):\n    f(i)\n    print(i)", " 0\n1")


def test_an_example_that_is_said_twice_counts_once() -> None:
    assert find_examples(prompt(">>> f(1, 2)\n3\n\nf(1, 2) == 3")) == [Example(SESSION, "f(1, 2)", "3")]


def test_a_docstring_is_read_as_python_reads_it() -> None:
    [example] = find_examples(prompt(r">>> f('a\\nb')" + "\n2"))
    assert example.source == r"f('a\nb')"


def test_assertions_are_found_in_a_text_that_is_no_code() -> None:
    text = "Write a function that adds.\nassert add(1, 2) == 3\nassert add([1,\n  2], 3) == 4\nassert that it works"
    assert find_examples(text) == [
        Example(STATEMENT, "assert add(1, 2) == 3"),
        Example(STATEMENT, "assert add([1, 2], 3) == 4"),
    ]


def test_a_string_in_the_code_is_no_example() -> None:
    assert find_examples('TEXT = "f(1) == 2"\n\ndef f(x):\n    """Nothing."""\n') == []


def test_the_examples_are_bounded() -> None:
    assert len(find_examples(prompt("\n".join(f"f({i}) == {i}" for i in range(500))))) == MAX_EXAMPLES


@pytest.mark.parametrize(
    ("example", "expected"),
    [
        (Example(CALL, "f(1)", "[1, 2]"), 2),
        (Example(CALL, "f(1)", "'ab'"), 2),
        (Example(CALL, "f(1)", "12"), 1),
        (Example(CALL, "f(1)", "True"), 1),
        (Example(CALL, "f(1)", "[]"), 1),
        (Example(SESSION, "f(1)", "{1: 'a'}"), 2),
        (Example(SESSION, "f(1)", "hello"), 1),
        (Example(SESSION, "f(1)"), 1),
        (Example(STATEMENT, "assert f(1) == (1, 2)"), 2),
        (Example(STATEMENT, "assert 'b' == f(1)"), 2),
        (Example(STATEMENT, "assert set(f(1)) == set([1])"), 1),
        (Example(STATEMENT, "assert f(1)"), 1),
        (Example(STATEMENT, "f(1)"), 1),
        (Example(STATEMENT, "check(f)"), 1),
        (Example(STATEMENT, "case.assertEqual(f(1), 2)"), 1),
        (Example(STATEMENT, "for x in y:\n    assert f(x)"), 1),
        (Example(STATEMENT, "import math"), 0),
        (Example(STATEMENT, "x = 1"), 0),
        (Example(STATEMENT, "x += f(1)"), 0),
        (Example(STATEMENT, "data.append(f(1))"), 0),
        (Example(STATEMENT, "print(f(1))"), 0),
        (Example(CALL, "f(1)", "None"), 0),
    ],
)
def test_an_example_that_shows_a_text_or_a_collection_proves_more(example: Example, expected: int) -> None:
    assert weight(example) == expected


def test_statements_of_a_test_keep_their_order() -> None:
    found = argument_examples("x = f(1)\nassert x == 1\n")
    assert found == [Example(STATEMENT, "x = f(1)"), Example(STATEMENT, "assert x == 1")]
    with pytest.raises(ValueError, match="neither Python nor lines"):
        argument_examples("it should add")


@pytest.mark.parametrize(
    "test", ["assert f(1) == 1\n" * 1001, ">>> f(1)\n1\n>>> f(2\n4\n", ">>> f(1)\n1\n>>>f(2)\n4\n"]
)
def test_no_part_of_a_callers_test_is_left_out(test: str) -> None:
    with pytest.raises(ValueError, match=r"1001 statements|not Python"):
        argument_examples(test)


@pytest.mark.parametrize(
    ("question", "entry", "is_whole"),
    [
        ("def g(x):\n    return x\n\ndef f(x):\n    ...\n\ndef h(x):\n    return x", "f", True),
        ("def g(x):\n    return x\n\ndef f(x):\n    return x", "f", True),
        ("import math\n\ndef f(x):", "f", True),
        ("class A:\n    def m(self):\n        pass", "", True),
        ("Complete this:\n```python\ndef f(x):\n    pass\n```\nThanks.", "f", False),
        ("How many?", "", False),
        ("hello", "", False),
    ],
)
def test_the_function_to_be_written_is_the_last_one_without_a_body(question: str, entry: str, is_whole: bool) -> None:
    found = parse_prompt(question)
    assert (found.entry, found.is_whole) == (entry, is_whole)
    assert bool(found.source) == bool(entry or is_whole)


def test_a_program_has_no_assertions_of_the_prompt_which_do_not_hold_yet() -> None:
    names: dict[str, object] = {}
    exec(
        parse_prompt("import math\n\ndef f(x):\n    ...\n\nassert f(1) == 1").program("def f(x):\n    return x"), names
    )
    assert names["f"](1) == 1  # type: ignore[operator]


def test_a_program_has_the_prompts_imports_before_the_answer() -> None:
    program = parse_prompt("import math\n\ndef f(x):").program("def f(x):\n    return math.pi")
    names: dict[str, object] = {}
    exec(program, names)
    assert names["f"](0) > 3  # type: ignore[operator]


LEETCODE = """Given an array of integers nums and an integer target, return the indices of the two numbers.

**Example 1:**

**Input:** nums = [2,7,11,15], target = 9
**Output:** [0,1]
**Explanation:** Because nums[0] + nums[1] == 9, we return [0, 1].

Example 2:
Input: nums = [3,2,4], target = 6
Output: [1,2]

Constraints:

2 <= nums.length <= 10^4

```python
class Solution:
    def twoSum(self, nums: List[int], target: int) -> List[int]:
```
"""


def test_the_inputs_and_outputs_of_leetcodes_prompts_are_examples_of_its_method() -> None:
    assert find_examples(LEETCODE) == [
        Example(CALL, "twoSum(nums=[2, 7, 11, 15], target=9)", "[0, 1]"),
        Example(CALL, "twoSum(nums=[3, 2, 4], target=6)", "[1, 2]"),
    ]
    found = parse_prompt(LEETCODE)
    assert (found.entry, found.owner, found.to_write) == ("twoSum", "Solution", ("twoSum",))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Input: a = 1, b = 2\nOutput: 3", [("f(a=1, b=2)", "3")]),
        ("Input: [1, 2], 'x'\nOutput: true", [("f([1, 2], 'x')", "True")]),
        ("Input:\na = [1,\n  2]\nb = null\nOutput:\n[false]", [("f(a=[1, 2], b=None)", "[False]")]),
        ("Input: n = 3, k = 4\nOutput: -1", [("f(3, 4)", "-1")]),  # other names than the function's
        ('Sample Input 1: a = "Output", b = 0\nSample Output 1: "it"', [("f(a='Output', b=0)", "'it'")]),
        ("Input: a = 1\nOutput: 3", []),  # too few
        ("Input: two numbers\nOutput: their sum", []),
        ("Input: a = 1, b = g(2)\nOutput: 3", []),
        ("Input: a = 1, b = 2\nOutput: 3 or 4", []),
        ("You may return the answer in any order.\n\nInput: a = 1, b = 2\nOutput: [3]", []),
    ],
)
def test_a_pair_of_input_and_output_is_an_example_where_both_are_literals(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert find_examples(prompt(text)) == [Example(CALL, source, value) for source, value in expected]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("-> List[int]", "-> None"),
        ("nums: List[int]", "nums: Optional[ListNode]"),
        ("target: int", "target: 'Reader'"),
        ("class Solution", "class Other"),
    ],
)
def test_a_method_whose_values_are_no_literals_has_no_examples(before: str, after: str) -> None:
    assert find_examples(LEETCODE.replace(before, after)) == []
