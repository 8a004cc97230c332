"""The law of usage: records are merged by the maximum of each step, and a bill is the sum over the steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tandem.method.tokens import TokenCounts
from tandem.method.usage import beyond, by_role, larger, lost, merged, total
from workflows.activities.usage import EarlierUsage

NUMBERS = st.integers(0, 6)  # few, so that ties are drawn


def counts(uncached: int, written: int, hour: int, **more: Any) -> TokenCounts:
    return TokenCounts(prompt=uncached + written + hour, written=written, written_hour=hour, **more)


COUNTS = st.builds(
    counts,
    uncached=NUMBERS, written=NUMBERS, hour=NUMBERS,
    cached=NUMBERS, completion=NUMBERS, overrun=NUMBERS, discarded=NUMBERS,
    is_estimated=st.booleans(), tool_uses=st.dictionaries(st.sampled_from(["search", "fetch"]), st.integers(1, 3)),
)  # fmt: skip
STEPS = st.tuples(st.sampled_from(["llm", "slm", "scorer"]), st.sampled_from(["text", "trial 1", "prefill 0"]))
Record = dict[tuple[str, str], TokenCounts]
RECORDS = st.dictionaries(STEPS, COUNTS, max_size=6)


def has_at_least(counts: TokenCounts, known: TokenCounts) -> bool:
    return counts.read >= known.read and counts.generated >= known.generated


@given(RECORDS, RECORDS)
def test_the_merge_is_commutative(one: Record, other: Record) -> None:
    assert merged(one, other) == merged(other, one)


@given(RECORDS, RECORDS, RECORDS)
def test_the_merge_is_associative(one: Record, other: Record, third: Record) -> None:
    assert merged(merged(one, other), third) == merged(one, merged(other, third)) == merged(one, other, third)


@given(RECORDS, RECORDS)
def test_the_merge_is_idempotent_and_without_a_record_changes_nothing(one: Record, other: Record) -> None:
    both = merged(one, other)
    assert merged(one, one) == merged(one) == merged(one, {}) == one
    assert merged(both, one) == merged(both, other) == both


@given(RECORDS, RECORDS)
def test_the_merge_lowers_no_step_and_no_sum_and_invents_no_token(one: Record, other: Record) -> None:
    both = merged(one, other)
    for step, counts in both.items():
        known = [record[step] for record in (one, other) if step in record]
        assert all(has_at_least(counts, each) for each in known)
        assert counts.read == max(each.read for each in known)
        assert counts.generated == max(each.generated for each in known)
        assert counts.written + counts.written_hour <= counts.prompt
    assert has_at_least(total(both), total(one))
    assert has_at_least(total(both), total(other))


@given(RECORDS)
def test_the_bill_is_the_sum_over_the_steps_of_each_role(record: Record) -> None:
    bill = by_role(record, ["llm", "slm", "scorer"])
    assert list(bill) == ["llm", "slm", "scorer"]
    for role, counts in bill.items():
        assert counts.by_state == total({k: v for k, v in record.items() if k[0] == role}).by_state
    assert total(bill) == total(record)


@given(COUNTS, COUNTS)
def test_what_one_record_has_beyond_another_is_what_the_other_lacks(counts: TokenCounts, known: TokenCounts) -> None:
    missing, both = beyond(counts, known), larger(counts, known)
    assert min(missing.prompt, missing.cached, missing.discarded) >= 0
    assert missing == lost(missing)
    assert (known.read + missing.read, known.generated + missing.generated) == (both.read, both.generated)
    assert beyond(counts, counts) == beyond(TokenCounts(), known) == TokenCounts()


@given(COUNTS)
def test_lost_work_has_the_same_tokens_and_keeps_none(counts: TokenCounts) -> None:
    assert (lost(counts).read, lost(counts).generated) == (counts.read, lost(counts).discarded)
    assert lost(counts).generated == counts.generated


@dataclass(frozen=True)
class Attempt:
    """An attempt that failed. `is_heard`: its service reported its tokens; `logged`: those that the log took, some or
    all; `forgets`: the log had lost everything when it began.
    """

    used: TokenCounts
    logged: TokenCounts
    is_heard: bool
    forgets: bool


@st.composite
def attempts(draw: st.DrawFn) -> Attempt:
    prompt, generated = draw(NUMBERS), draw(NUMBERS)
    logged = TokenCounts(prompt=draw(st.integers(0, prompt)), discarded=draw(st.integers(0, generated)))
    return Attempt(TokenCounts(prompt=prompt, discarded=generated), logged, draw(st.booleans()), draw(st.booleans()))


@given(st.lists(attempts(), max_size=5))
def test_failed_attempts_are_never_counted_twice_and_nothing_that_was_heard_is_lost(failed: list[Attempt]) -> None:
    earlier, log, used, heard = EarlierUsage(TokenCounts(), TokenCounts()), TokenCounts(), TokenCounts(), TokenCounts()
    for each in failed:
        log = TokenCounts() if each.forgets else log
        used += each.used
        began_with = log
        earlier.see_log(began_with)
        heard = larger(heard, earlier.total)
        assert has_at_least(earlier.total, log)
        log += each.logged
        if each.is_heard:
            earlier.fail(began_with + each.used, began_with)
            heard += each.used
        else:
            earlier.fail(TokenCounts(), began_with)
        assert has_at_least(used, earlier.total)
        assert has_at_least(earlier.total, heard)
        assert has_at_least(earlier.total, began_with + earlier.missing)
