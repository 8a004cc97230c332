"""Put what a study found into its profile, where the services read it. Comments of the file stay."""

from __future__ import annotations

import tomlkit

from tandem.method.profile import Profile
from training.study import Study
from training.table import Table

FOLDER = "scorer"


def ship(profile: Profile, study: Study, table: Table) -> None:
    """Scorer, thresholds, and what the large model needs by itself, its mean over `table`. Raises StudyError."""
    policy = study.policies().served
    study.artefact(policy.kind).save(profile.folder / FOLDER)
    file = profile.folder / "profile.toml"
    document = tomlkit.parse(file.read_text())
    stop = document["stop"]
    stop["scorer"] = f"{policy.kind}:{FOLDER}"
    stop["stage_zero_threshold"] = round(policy.thresholds[0], 4)
    stop["otherwise"] = "llm_finishes" if policy.llm_finishes else "best_stage"
    document["llm_alone"]["output_tokens"] = round(float(table.llm.tokens.mean()))
    for stage, threshold in zip(document["stages"], policy.thresholds[1:], strict=True):
        stage["threshold"] = round(threshold, 4)
    file.write_text(tomlkit.dumps(document))
