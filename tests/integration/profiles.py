"""Profiles as the systems of these tests serve them."""

from __future__ import annotations

from pathlib import Path

from tandem.method.profile.profile import Profile, load_profile

SECONDS = 1.0  # enough for all attempts that a service refuses; a stack of real processes has the profile's own time


def served_profile(name: str, folder: Path, alias: str, unavailable_seconds: float) -> Profile:
    """`alias` ends its name. A small model that cannot be reached is waited for `unavailable_seconds`."""
    profile = load_profile(name, (folder,))
    execution = profile.execution.model_copy(update={"unavailable_timeout_seconds": unavailable_seconds})
    name = f"{profile.name}-{alias}" if alias else profile.name
    return profile.model_copy(update={"name": name, "execution": execution})
