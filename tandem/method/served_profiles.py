"""The profiles that one process serves: pairs that have a model in common share its process."""

from __future__ import annotations

from collections.abc import Callable

from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition, InvalidArgument
from tandem.method.profile import Model, Profile


class ServedProfiles:
    """`default` is for requests without a digest. Profiles of one digest differ in thresholds and prices alone, which requests carry."""

    def __init__(self, *profiles: Profile) -> None:
        self.default = profiles[0]
        self._by_digest: dict[str, Profile] = {}
        for profile in profiles:
            self._by_digest.setdefault(profile.digest, profile)

    def of(self, digest: str) -> Profile:
        """The profile that a request was planned with. Raises FailedPrecondition where none of them is it."""
        if len(self._by_digest) == 1:
            self.default.check_digest(digest)
        if not digest:
            return self.default
        if found := self._by_digest.get(digest):
            return found
        served = ", ".join(f"{profile.name} ({own})" for own, profile in self._by_digest.items())
        raise FailedPrecondition(
            f"this process serves the profiles {served}, the request was planned with {digest}: restart the processes that hold "
            "an older profile",
            reason=PROFILE_MISMATCH,
        )


def shared_model(profiles: tuple[Profile, ...], model_of: Callable[[Profile], Model]) -> Model:
    """The one model that all of them name. Raises InvalidArgument where they name several, or run one differently."""
    first = model_of(profiles[0])
    for profile in profiles[1:]:
        if model_of(profile) != first:
            raise InvalidArgument(
                f"profiles {profiles[0].name} and {profile.name} cannot share a process: one runs {_described(first)}, the other "
                f"{_described(model_of(profile))}",
                field="profile",
            )
    return first


def _described(model: Model) -> str:
    return f"{model.name} ({model.dtype}, {model.quantization})"
