"""A second pair for the test engine, whose scorer was "trained" on questions like `LIKE_TRAINING` and lets every
question stop.
It promises how many of its answers are lost at most.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from services.sufficiency_scorer.artefact import Artefact, Description, Moments, NotMeasured
from services.sufficiency_scorer.network import Shape, SufficiencyNetwork
from services.sufficiency_scorer.scorer_inputs import BUCKETS, NAMES, bag_of_words
from tandem.method.profile.profile import Profile, load_profile
from tests.e2e.k8s.values import scripted_profile, sharing_pair
from tests.fakes import ByteTokenizer
from tests.promising import promise

PAIR = "trained"
SCRIPT_LIKE_TRAINING, SCRIPT_UNLIKE = "slm_eos=5", "slm=%%% slm_eos=5"
"""Of questions; the second has three percent signs, three standard deviations from lab.training."""
LIKE_TRAINING = f"[{SCRIPT_LIKE_TRAINING}] 3?"


def values(more: str = "") -> dict[str, Any]:
    """An item of the chart's `profiles`: it shares the models of the first pair."""
    with TemporaryDirectory() as folder:
        profile = _write_profile(Path(folder), more)
        _artefact(profile).save(profile.folder)
        files = {file.name: file.read_bytes() for file in profile.folder.iterdir()}
    profile_file = files.pop("profile.toml").decode()
    binary = {name: b64encode(content).decode() for name, content in files.items()}
    return sharing_pair(PAIR, profile_file, binaryFiles=binary)


def _write_profile(folder: Path, more: str) -> Profile:
    (folder / PAIR).mkdir()
    text = scripted_profile(PAIR).replace('scorer = "untrained"', 'scorer = "words"', 1) + more
    (folder / PAIR / "profile.toml").write_text(text)
    promise(folder / PAIR)
    return load_profile(PAIR, (folder,))


def _artefact(profile: Profile) -> Artefact:
    counts = bag_of_words(LIKE_TRAINING)
    counts[:BUCKETS] = 0
    network = SufficiencyNetwork.blank(Shape(("words",), stages=len(profile.stages) + 1))
    return Artefact(
        network.having({"mean": counts, "layers.0.bias": np.array([9.0])}),
        Description(
            kind="words", features=list(NAMES), shape=network.shape, pair=profile.prompt_fingerprint(),
            tokenizer_sha256=ByteTokenizer.sha256, spread_by_stage=[Moments([], [])], trained_on=[],
            metrics=NotMeasured(), versions={}, command="", seed=0,
        ),
    )  # fmt: skip
