"""A profile that promises how many of its answers are lost at most, as `tandem calibrate --lose-at-most` writes it."""

from __future__ import annotations

from pathlib import Path

from tandem.method.conversation import Kind
from tandem.method.profile.profile import load_profile

_PROMISE = """
[[promises]]
task = "{kind}"
lose_at_most = 0.05
confidence = 0.95
bound = 0.04
lost = 1
n = 200
evidence = "{evidence}"
data = []
"""


def promise(folder: Path, kind: Kind = "answer") -> None:
    """Add it to the profile in `folder`, for the policy that this has where the large model finishes, as one that
    promises must let it.
    """
    file = folder / "profile.toml"
    finishes = 'otherwise = "llm_finishes"\n'
    text = file.read_text().replace(finishes, "").replace("[stop]\n", f"[stop]\n{finishes}", 1)
    file.write_text(text)
    evidence = load_profile(folder.name, (folder.parent,)).evidence(kind)
    file.write_text(text + _PROMISE.format(kind=kind, evidence=evidence))
