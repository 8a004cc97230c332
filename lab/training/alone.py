"""Print the estimates of a profile's `[llm_alone.by_length]`: `python -m lab.training.alone PROFILE answer=FILE,FILE
code=FILE`.

The files are of `tandem collect`: the large model's own answers to training questions. Beside `calibrate --write`,
because a profile's tasks are measured on different files.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from lab.training.collected import load_collected
from tandem.method.profile.expected import ByLength, fitted
from tandem.method.profile.profile import Profile, load_profile

_PROFILES = Path(__file__).parents[2] / "deploy" / "profiles"


def by_length(answers: Iterable[tuple[float, float]]) -> ByLength:
    """Of (prompt tokens, answer tokens). Raises ValueError where there are too few."""
    prompts, tokens = zip(*answers, strict=True)
    return fitted(prompts, tokens)


def _answers(profile: Profile, files: list[str]) -> Iterable[tuple[float, float]]:
    for file in files:
        alone = load_collected([Path(file)], profile).table.llm
        yield from zip(alone.prompt.tolist(), alone.tokens.tolist(), strict=True)


def main() -> None:
    profile = load_profile(sys.argv[1], (_PROFILES,))
    for given in sys.argv[2:]:
        task, _, files = given.partition("=")
        found = by_length(_answers(profile, files.split(",")))
        print(f"{task} = {{ {', '.join(f'{name} = {value:g}' for name, value in asdict(found).items())} }}")


if __name__ == "__main__":
    main()
