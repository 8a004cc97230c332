"""Sixty pairs of a known answer and what a model gave, and whether they are the same."""

from __future__ import annotations

import pytest

pytest.importorskip("math_verify")

from lab.training.final_answers import is_mathematics, is_same_answer

PAIRS = [
    # words
    ("listen", "silent", False),
    ("Paris", "Pairs", False),
    ("Paris", "paris", True),
    ("Paris", "Paris.", True),
    ("Paris", r"\text{Paris}", True),
    ("Paris", "London", False),
    ("Paris", "Paris and London", False),
    ("true", "True", True),
    ("true", "false", False),
    ("Yes", "**yes**", True),
    ("no", "on", False),
    ("New York", "new   york", True),
    ("New York", "York New", False),
    ("well-known", "well known", True),
    ("the Beatles", "Beatles", True),
    ("C++", "C#", False),
    ("Müller", "müller", True),
    ("O’Brien", "O'Brien", True),
    (r"\text{Evelyn}", "Evelyn", True),
    (r"\text{odd}", r"\text{even}", False),
    ("Apollo 11", "Gemini 11", False),
    ("Apollo 11", "apollo 11", True),
    ("no solution", "solution no", False),
    # choices
    ("B", "(B)", True),
    ("(B)", "B", True),
    ("B", "B) Paris", True),
    (r"\text{(B)}", "B.", True),
    ("B", "option B", True),
    ("B", "(C)", False),
    ("A", "A cat", False),
    ("C", "b", False),
    # dates
    ("2024-03-05", "March 5, 2024", True),
    ("March 5, 2024", "5 March 2024", True),
    ("March 5, 2024", "Mar 5th, 2024", True),
    ("03/05/2024", "2024-03-05", True),
    ("2024-03-05", "2024-05-03", False),
    ("March 5, 2024", "March 6, 2024", False),
    ("June 20", "20 June", True),
    ("June 20", "June 20, 2024", False),
    ("June 20", "20", False),
    # mathematics
    ("18", "18", True),
    ("18", "180", False),
    ("1,234", "1234", True),
    ("0.5", "1/2", True),
    (r"\dfrac{9}{7}", "9/7", True),
    (r"(3, \frac{\pi}{2})", r"(3,\pi/2)", True),
    ("x^2", "x^3", False),
    ("2x + 1", "1 + 2x", True),
    ("3x - 3", "3(x - 1)", True),
    ("2xy + 10x", "2ab + 10x", False),
    ("2 + sqrt(8)", "2 + sqrt(3)", False),
    ("-5", "5", False),
    ("$18", "18", True),
    # mathematics with units
    ("18", r"18 \text{ dollars}", True),
    ("18 dollars", "18", True),
    ("18 dollars", "18 dollar", True),
    ("18 dollars", "18 cents", False),
    (r"4 \text{ inches}", r"4 \text{ in}", True),
    ("12 Angry Men", "12 Monkeys", False),
    ("18", "", False),
]


@pytest.mark.parametrize(("gold", "found", "is_same"), PAIRS)
def test_answers_are_compared_as_what_they_are(gold: str, found: str, is_same: bool) -> None:
    assert is_same_answer(gold, found) is is_same


def test_the_table_has_sixty_pairs() -> None:
    assert len(set(PAIRS)) == len(PAIRS) == 60


@pytest.mark.parametrize(
    ("gold", "text", "is_same"),
    [
        ("Paris", "It is on the Seine, so the answer is Paris.", True),
        ("Paris", "The answer is London? No: the answer is Paris.", True),
        ("Paris", "Paris is not the answer", False),
        ("B", "The answer is (B).", True),
        ("18", "the answer is 18", True),
        ("18", "There are 17 and then 18", True),
    ],
)
def test_without_a_box_what_the_text_calls_its_answer_counts(gold: str, text: str, is_same: bool) -> None:
    assert is_same_answer(gold, text, is_boxed=False) is is_same


@pytest.mark.parametrize("gold", ["Paris", "Apollo 11", r"\text{even}", "listen", "all real numbers"])
def test_words_are_no_mathematics(gold: str) -> None:
    assert not is_mathematics(gold)
