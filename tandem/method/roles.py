"""Who does what in a pair: the large model, its small ones in order, and the scorer. A role is a key, and what a role
has is a mapping.
"""

from typing import Literal

LLM, SLM, SCORER = "llm", "slm", "scorer"
SMALL_ROLES = (SLM, "second_slm", "third_slm")
"""In the order in which a profile names its small models. The contract's enum Role has as many."""
MODEL_ROLES = (LLM, *SMALL_ROLES)
"""Roles that a model of its own has: the scorer runs the first small one."""
BILL_ROLES = (LLM, SLM, SCORER, *SMALL_ROLES[1:])
"""In the order of a bill's lines."""

WhenUnavailable = Literal["fail", "small"]
"""What becomes of a request that the large model fails, and of which no stage was scored."""


def title(role: str) -> str:
    """`large`, `small`, `second small`, ...; the scorer's is `scorer`."""
    return "large" if role == LLM else role.replace("_", " ").replace("slm", "small")


def executor_of(role: str) -> str:
    """The name of the process that a small model of this role has."""
    return f"{role.replace('_', '-')}-executor"
