"""What a process says that cannot read what is kept."""

from __future__ import annotations

from tandem.method.errors import FailedPrecondition

TEXT_UNREADABLE = "TEXT_UNREADABLE"
"""Reason of a FailedPrecondition: this process lacks the key of what it reads, or somebody has changed it."""


def unreadable(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"what is kept of the request cannot be read: {why}", reason=TEXT_UNREADABLE)
