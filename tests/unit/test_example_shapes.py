"""Examples of other shapes than a function's: whole programs, classes, tables; and that right programs pass by them, and wrong ones fail."""

from __future__ import annotations

import pytest

from tandem.method.evidence.checks import Verdict
from tandem.method.evidence.examples import Example, Form, find_examples
from tandem.method.evidence.prompt_code import OPERATE, parse_prompt
from tandem.method.evidence.whole_program import OUTPUT_OF, sample_runs
from tests.unit.test_agreement import FAIL, PASS, checked

ATCODER = """You are given N integers. Print the largest sum of two of them at different positions.

Input
The input is given from Standard Input in the following format:
N
A_1 A_2 ... A_N

Output
Print the answer.

Sample Input 1

3
1 2 3

Sample Output 1

5

The second and the third one give the largest sum.

Sample Input 2

2
-4 1

Sample Output 2

-3
"""
CODEFORCES = """Vasya walks along a street. Say whether he comes home. You can print each letter in any case (upper or lower).

-----Input-----

The first line contains $t$, the number of test cases. Each line after it has two integers.

-----Output-----

For each test case print YES or NO.

-----Examples-----
Input
3
1 1
1 2
2 2

Output
YES
NO
YES

-----Note-----

In the first test case he is at home already.
"""
FENCED = "Echo the line.\n\n### Example 1\n\nInput:\n```\na b\n```\n\nOutput:\n```\na b\n\nc\n```\n\n### Example 2\n\n**Input**\n```\nx\n```\n**Output**\n```\nx\n```\n"
QUEUE = """Implement a first in first out queue.

**Example 1:**

**Input**
["MyQueue", "push", "push", "pop", "empty"]
[[], [1], [2], [], []]
**Output**
[null, null, null, 1, false]

```python
class MyQueue:

    def __init__(self):


    def push(self, x: int) -> None:


    def pop(self) -> int:


    def empty(self) -> bool:

```
"""
SUMS = "n = int(input())\na = sorted(map(int, input().split()))\nprint(a[-1] + a[-2])"


def test_the_runs_of_atcoders_and_codeforces_prompts_are_examples_of_a_whole_program() -> None:
    assert sample_runs(ATCODER) == [("3\n1 2 3\n", "5"), ("2\n-4 1\n", "-3")]
    assert sample_runs(CODEFORCES) == [("3\n1 1\n1 2\n2 2\n", "yes\nno\nyes")]
    assert sample_runs(FENCED) == [("a b\n", "a b\n\nc"), ("x\n", "x")]
    assert find_examples(ATCODER)[0] == Example(Form.CALL, f"{OUTPUT_OF}('3\\n1 2 3\\n')", "'5'")
    assert parse_prompt(CODEFORCES).entry == OUTPUT_OF


@pytest.mark.parametrize(
    "question",
    [
        ATCODER.replace("Print the answer.", "If there are several, print any of them."),
        ATCODER + "This is an interactive problem.\n",
        ATCODER.replace("Print the answer.", "An absolute or relative error of at most 1e-6 is allowed.")
        .replace("5", "5.0")
        .replace("-3", "-3.0"),
        "Two numbers.\n\nExample 1:\nInput:\nnums = [1, 2]\nOutput:\n3\n",  # of a function that is not shown
        "What is the output?\n\nInput\nThe first line has n.\n\nOutput\nOne number.\n",
        "Sample Input\n\n1\n\nSample Output\n\n1\n\n2\n",  # does the output end at the empty line?
        "Sample Input\n\n1\n\nSample Output\n\n",
    ],
)
def test_a_run_whose_output_proves_nothing_or_is_uncertain_is_no_example(question: str) -> None:
    assert find_examples(question) == []


def test_an_output_that_may_be_cut_off_at_an_empty_line_is_left_out_and_others_count() -> None:
    question = "Sample Input 1\n\n1\n\nSample Output 1\n\n1\n\n2\n\nSample Input 2\n\n3\n\nSample Output 2\n\n3\n"
    assert sample_runs(question) == [("3\n", "3")]


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (SUMS, PASS),
        ("import sys\nn, *a = map(int, sys.stdin.read().split())\na.sort()\nprint(sum(a[-2:]), end=' ')", PASS),
        ("import sys\na = sorted(map(int, sys.stdin.buffer.read().split()[1:]))\nsys.stdout.write(str(sum(a[-2:])))", PASS),
        ("n, *a = map(int, open(0).read().split())\nprint(sum(sorted(a)[-2:]))\nexit()", PASS),
        (
            "import threading\ndef main():\n"
            + "".join(f"    {line}\n" for line in SUMS.splitlines())
            + "if __name__ == '__main__':\n    threading.Thread(target=main).start()",
            PASS,
        ),
        (SUMS.replace("-2", "-1"), FAIL),
        ("print(5)", FAIL),
        ("print('5'", FAIL),
        ("n = input()\nwhile True: pass", FAIL),
        ("input()\ninput()\ninput()", FAIL),
        ("def solve(n, a):\n    return sum(sorted(a)[-2:])", FAIL),
    ],
)  # fmt: skip
def test_a_whole_program_is_run_on_the_inputs_that_are_shown(answer: str, verdict: Verdict) -> None:
    assert checked("python_examples", "", answer, ATCODER)[0] is verdict


def test_letters_of_either_case_are_right_where_the_prompt_says_so() -> None:
    answer = "for _ in range(int(input())):\n    a, b = input().split()\n    print('Yes' if a == b else 'nO')"
    assert checked("python_examples", "", answer, CODEFORCES)[0] is PASS
    assert checked("python_examples", "", answer, CODEFORCES.replace("in any case", "as shown"))[0] is FAIL


# -- classes ----------------------------------------------------------------------------------------------------------


def test_operations_on_a_class_are_an_example_of_it() -> None:
    [found] = find_examples(QUEUE)
    assert found.source.startswith(f"{OPERATE}(['MyQueue', 'push', 'push', 'pop', 'empty'], [[], [1]")
    assert found.expected == "[None, None, None, 1, False]"
    assert find_examples(QUEUE.replace("class MyQueue", "class Other")) == []


@pytest.mark.parametrize(("at", "verdict"), [("0", PASS), ("-1", FAIL)])
def test_a_class_is_operated_as_the_example_says(at: str, verdict: Verdict) -> None:
    answer = (
        "class MyQueue:\n    def __init__(self): self.held: List[int] = []\n    def push(self, x): self.held.append(x)\n"
        f"    def pop(self): return self.held.pop({at})\n    def empty(self): return not self.held\n"
    )
    assert checked("python_examples", "", answer, QUEUE)[0] is verdict


# -- tables -----------------------------------------------------------------------------------------------------------

STUB = "\n```python\ndef f(a: int, b: str = '') -> str:\n    ...\n```\n"


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("| a | b | result |\n|---|---|---|\n| 1 | 'x' | 'x1' |\n| `2` | `'y'` | `'y2'` |", [("f(a=1, b='x')", "'x1'"), ("f(a=2, b='y')", "'y2'")]),
        ("| b | a | Expected output | why |\n| :- | :-: | --: | --- |\n| 'x' | 1 | 'x1' | so |", [("f(b='x', a=1)", "'x1'")]),
        ("Input | Output\n--- | ---\n1, 'x' | 'x1'", [("f(1, 'x')", "'x1'")]),
        ("| Call | Returns |\n|---|---|\n| `f(1, 'x')` | `'x1'` |", [("f(1, 'x')", "'x1'")]),
        ("| a | b | `f(a, b)` |\n|---|---|---|\n| 1 | 'p\\|q' | null |", [("f(a=1, b='p|q')", "None")]),
        ("| a | b | result |\n|---|---|---|\n| 1 | 'x' | an error |", []),
        ("| a | b | result |\n|---|---|---|\n| 1 | 'x' |", []),
        ("| name | meaning |\n|---|---|\n| 1 | 2 |", []),
        ("| a | result |\n|---|---|\n| 1 | 2 |", []),
        ("| a | b | result |\n|---|---|---|\n| g(1) | 'x' | 'x1' |", []),
    ],
)  # fmt: skip
def test_a_row_of_a_table_is_an_example_where_all_of_it_are_literals(
    table: str, expected: list[tuple[str, str]]
) -> None:
    assert find_examples(table + "\n" + STUB) == [Example(Form.CALL, source, value) for source, value in expected]
