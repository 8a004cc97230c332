"""Put a study's scorer and thresholds into its profile, where the services read them. Comments of the file stay."""

from __future__ import annotations

import tomlkit

from services.common.profile import Profile
from training.study import Study

FOLDER = "scorer"


def ship(profile: Profile, study: Study) -> None:
    """Raises StudyError."""
    policy = study.policies().served
    study.artefact(policy.kind).save(profile.folder / FOLDER)
    file = profile.folder / "profile.toml"
    document = tomlkit.parse(file.read_text())
    stop = document["stop"]
    stop["scorer"] = f"{policy.kind}:{FOLDER}"
    stop["stage_zero_threshold"] = round(policy.thresholds[0], 4)
    stop["otherwise"] = "llm_finishes" if policy.llm_finishes else "best_stage"
    for stage, threshold in zip(document["stages"], policy.thresholds[1:], strict=True):
        stage["threshold"] = round(threshold, 4)
    file.write_text(tomlkit.dumps(document))
