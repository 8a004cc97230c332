"""The profiles that one process serves: pairs that have a model in common share its process."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import timedelta

from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition, InvalidArgument, TandemError
from tandem.method.profile.profile import Model, Profile

logger = logging.getLogger(__name__)
Reread = Callable[[], Sequence[Profile]]
_LOOK_AGAIN_SECONDS = 2.0


class ServedProfiles:
    """`default` is for requests without a digest. Profiles of one digest differ in thresholds and prices alone, which
    requests carry.

    `reread` reads the profiles' files: a request that was planned with none of those here waits up to `patience` for
    its own. Pods see a changed ConfigMap a minute or two after the gateway that began with it. The profiles from before
    stay, for the requests that were planned with them.
    """

    def __init__(
        self, *profiles: Profile, reread: Reread | None = None, patience: timedelta = timedelta(minutes=3)
    ) -> None:
        self.default, self._reread, self._patience = profiles[0], reread, patience
        self._by_digest: dict[str, Profile] = {}
        self._take_in(profiles)

    async def of(self, digest: str) -> Profile:
        """Return the profile that a request was planned with. Raises FailedPrecondition where none of them is it."""
        if not digest:
            return self.default
        give_up = time.monotonic() + self._patience.total_seconds()
        while digest not in self._by_digest and self._reread:
            self._take_in(_read(self._reread))
            if digest in self._by_digest or time.monotonic() > give_up:
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return self._known(digest)

    def _take_in(self, profiles: Sequence[Profile]) -> None:
        for profile in profiles:
            self._by_digest.setdefault(profile.digest, profile)

    def _known(self, digest: str) -> Profile:
        if len(self._by_digest) == 1:
            self.default.check_digest(digest)
        if found := self._by_digest.get(digest):
            return found
        served = ", ".join(f"{profile.name} ({own})" for own, profile in self._by_digest.items())
        raise FailedPrecondition(
            f"this process serves the profiles {served}, the request was planned with {digest}: restart the "
            "processes that hold an older profile",
            reason=PROFILE_MISMATCH,
        )


def _read(reread: Reread) -> Sequence[Profile]:
    """Empty where the files hold no profile that can be served here."""
    try:
        return reread()
    except TandemError as error:
        logger.warning("the profiles stay as they were: %s", error)
        return ()


def shared_model(profiles: Sequence[Profile], model_of: Callable[[Profile], Model]) -> Model:
    """Return the one model that all of them name. Raises InvalidArgument where they name several, or run one
    differently.
    """
    first = model_of(profiles[0])
    for profile in profiles[1:]:
        if model_of(profile) != first:
            raise InvalidArgument(
                f"profiles {profiles[0].name} and {profile.name} cannot share a process: one runs "
                f"{_described(first)}, the other {_described(model_of(profile))}",
                field="profile",
            )
    return first


def rereading(read: Callable[[], Sequence[Profile]], model_of: Callable[[Profile], Model], served: Profile) -> Reread:
    """`read`, for a process that runs the model of `served`: it raises InvalidArgument where a profile names another
    one now.
    """

    def reread() -> Sequence[Profile]:
        profiles = read()
        shared_model((served, *profiles), model_of)
        return profiles

    return reread


def _described(model: Model) -> str:
    return f"{model.name} ({model.dtype}, {model.quantization})"
