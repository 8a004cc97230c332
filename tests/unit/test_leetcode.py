"""LeetCode's prompts in a real sandbox: the answer is a class, whose method is called."""

from __future__ import annotations

import pytest

from tandem.method.evidence.checks import Verdict
from tests.unit.test_agreement import FAIL, PASS, checked
from tests.unit.test_examples import LEETCODE

SEARCH = "return next([i, j] for i in range(len(nums)) for j in range(i + 1, len(nums)) if nums[i] + nums[j] == target)"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (f"class Solution:\n    def twoSum(self, nums: List[int], target: int) -> List[int]:\n        {SEARCH}", PASS),
        (f"def twoSum(nums, target):\n    {SEARCH}", PASS),
        ("class Solution:\n    def twoSum(self, nums, target):\n        return [0, 1]", FAIL),
        ("class Solution:\n    def other(self):\n        return 1", FAIL),
    ],
)
def test_the_method_of_the_class_is_what_the_examples_call(answer: str, verdict: Verdict) -> None:
    assert checked("python_examples", "", answer, LEETCODE)[0] is verdict


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        ("return sorted(intervals)", PASS),
        ("return [tuple(pair) for pair in sorted(intervals)]", PASS),
        ("return intervals", FAIL),
    ],
)
def test_a_method_may_have_the_name_of_a_standard_function_and_return_tuples_for_lists(
    body: str, verdict: Verdict
) -> None:
    question = (
        "Input: intervals = [[2,6],[1,3]]\nOutput: [[1,3],[2,6]]\n\n"
        "```python\nclass Solution:\n    def merge(self, intervals: List[List[int]]) -> List[List[int]]:\n```\n"
    )
    answer = f"class Solution:\n    def merge(self, intervals):\n        least = inf\n        {body}"
    assert checked("python_examples", "", answer, question)[0] is verdict


def test_floats_are_compared_to_five_decimals_and_spaces_in_a_text_count() -> None:
    question = (
        'Input: n = 3\nOutput: [0.33333, "a  b"]\n\n'
        "```python\nclass Solution:\n    def f(self, n: int) -> List[Any]:\n```\n"
    )
    assert (
        checked(
            "python_examples", "", "class Solution:\n    def f(self, n):\n        return [1 / n, 'a  b']", question
        )[0]
        is PASS
    )
    assert (
        checked("python_examples", "", "class Solution:\n    def f(self, n):\n        return [1 / n, 'a b']", question)[
            0
        ]
        is FAIL
    )
    assert (
        checked(
            "python_examples", "", "class Solution:\n    def f(self, n):\n        return [0.3334, 'a  b']", question
        )[0]
        is FAIL
    )


def test_a_built_in_function_stays_what_it_is() -> None:
    question = "Input: n = 5\nOutput: 4\n\n```python\nclass Solution:\n    def f(self, n: int) -> int:\n```\n"
    answer = "class Solution:\n    def f(self, n):\n        return pow(n, 2, 7)"
    assert checked("python_examples", "", answer, question)[0] is PASS
