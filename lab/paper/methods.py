"""What every method on the same answers comes to, from the files that `make report` writes."""

from __future__ import annotations

import json

from lab.pages import points, share, table
from lab.training.methods import display_name
from lab.training.metrics import Interval
from lab.training.names import LLM_ALONE
from lab.training.savings import Figures, compared, difference
from tandem.paths import DEFAULT_PROFILE, REPOSITORY

EVALUATION = REPOSITORY / "lab" / "training" / "studies" / DEFAULT_PROFILE / "evaluation"
TESTS = {"gsm8k": "GSM8K", "math_test": "MATH test", "mbpp_test": "MBPP test", "humaneval": "HumanEval"}
_SHOWN = (
    LLM_ALONE,
    "slm",
    "fixed:3",
    "random",
    "forced:paper",
    "paper:zero",
    "shepherd",
    "cascade",
    "router",
    "llm-first",
    "tandem",
    "oracle:llm-finishes",
)


def evaluated(test: str) -> Figures:
    found: Figures = json.loads((EVALUATION / f"{test}.json").read_text())
    return found


def methods() -> str:
    """Accuracy less the large model's in points, and the cost in `full` and in USD at 37:1 relative to it; its own row
    has its accuracy.
    """
    found = {title: evaluated(test) for test, title in TESTS.items()}
    heads = [f"{title}, n = {figures['data']['n']}" for title, figures in found.items()]
    rows = [
        f"{display_name(name)} | {' | '.join(_cell(figures, name) for figures in found.values())}" for name in _SHOWN
    ]
    return table(" | ".join(["method", *heads]), rows)


def _cell(figures: Figures, name: str) -> str:
    if name not in figures["methods"]:
        return ""
    if name == LLM_ALONE:
        return f"{100 * figures['methods'][name]['accuracy']:.1f} % right"
    each = compared(figures, name)
    costs = each["cost_ratios"]
    lost = points(difference(each, figures["data"]["n"]))
    return f"{lost} at {share(Interval(*costs['full']))}, {costs['usd_37'][0]:.0%}"
