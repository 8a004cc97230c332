"""LeetCode's prompts in a real sandbox: the answer is a class, whose method is called."""

from __future__ import annotations

import pytest

from tandem.method.checks import Verdict
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
