"""Usage: token counts by step, one merge of them, and one subtraction.

Several records tell what a request has used: the request log, what services report in their replies and errors, what a
worker remembers, and the journal of a killed process. Each may lack a step, or know only the beginning of one; none has
more than was used. A step is whatever is counted as one: a model's text with every attempt at it, or one pass over a
prompt.

The law: records are merged by the maximum of each step, and a bill is the sum over the steps. The merge is commutative,
associative and idempotent, so a record that comes twice, late or in another order changes nothing; and it never lowers
a step or a sum, so nothing that some record has is lost.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

from tandem.method.tokens import TokenCounts

K = TypeVar("K", bound=Hashable)  # a step
RoleStep = tuple[str, str]
"""The role of a model and the name of a step: the key of a whole request's usage."""


def merged(*records: Mapping[K, TokenCounts]) -> dict[K, TokenCounts]:
    """What the records have together: the maximum of each step."""
    found: dict[K, TokenCounts] = {}
    for record in records:
        for step, counts in record.items():
            found[step] = larger(found[step], counts) if step in found else counts
    return found


def total(record: Mapping[K, TokenCounts]) -> TokenCounts:
    """The sum over the steps."""
    return sum(record.values(), TokenCounts())


def by_role(record: Mapping[RoleStep, TokenCounts], roles: Iterable[str]) -> dict[str, TokenCounts]:
    """The sum over the steps of each role, in the order of `roles`."""
    return {role: total({step: counts for step, counts in record.items() if step[0] == role}) for role in roles}


def larger(one: TokenCounts, other: TokenCounts) -> TokenCounts:
    """The maximum of one step: the larger prompt and the larger number of generated tokens.

    Where two records place the same tokens in different states, the dearer state counts of a prompt, and the kept one
    of what was generated.
    """
    read, written = max(one, other, key=_read), max(one, other, key=_written)
    return TokenCounts(
        prompt=read.prompt,
        cached=read.cached,
        completion=written.completion,
        overrun=written.overrun,
        discarded=written.discarded,
        is_estimated=one.is_estimated or other.is_estimated,
        written=read.written,
        written_hour=read.written_hour,
        tool_uses={
            tool: max(one.tool_uses.get(tool, 0), other.tool_uses.get(tool, 0))
            for tool in (*one.tool_uses, *other.tool_uses)
        },
    )


def beyond(counts: TokenCounts, known: TokenCounts) -> TokenCounts:
    """The tokens that `counts` has and `known` lacks, never less than none; what was generated is discarded.

    They are what is missing from `known`: both together read and generated as much as the larger of the two.
    """
    read = max(0, counts.read - known.read)
    prompt = min(read, counts.prompt)
    return TokenCounts(prompt=prompt, cached=read - prompt, discarded=max(0, counts.generated - known.generated))


def lost(counts: TokenCounts) -> TokenCounts:
    """The counts of work whose text nobody has: all that was generated is discarded."""
    return TokenCounts(
        prompt=counts.prompt, cached=counts.cached, discarded=counts.generated, is_estimated=counts.is_estimated
    )


def _read(counts: TokenCounts) -> tuple[int, ...]:
    """A total order that decides every tie: its maximum depends on no order of the records."""
    return counts.read, counts.prompt, counts.written_hour, counts.written


def _written(counts: TokenCounts) -> tuple[int, ...]:
    return counts.generated, counts.completion, counts.overrun
