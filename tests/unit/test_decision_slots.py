"""Slots of a request's decisions: each is written once, and in order."""

from __future__ import annotations

from services.gateway.bounds import MAX_CHECKS
from services.shared.request_log.decisions import LLM_STOPPED_SLOT, RESULT_SLOT, checked_slot, scored_slot


def test_no_check_takes_the_slot_of_another_answers_check_or_of_a_later_decision() -> None:
    """Redis takes a slot once and drops what comes later with the same one or a lower one."""
    slots = []
    for stage in range(-1, 64):
        slots += [scored_slot(stage)] if stage >= 0 else []
        for number in range(1, 40):
            slots += range(checked_slot(stage, number), checked_slot(stage, number) + MAX_CHECKS)
    slots += [LLM_STOPPED_SLOT, RESULT_SLOT]
    assert slots == sorted(set(slots))
