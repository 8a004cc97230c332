"""Write the policy of a study into its profile, from which the services load it. Comments in the file are preserved."""

from __future__ import annotations

import tomlkit

from tandem.method.profile import Profile
from training.study import Study
from training.table import Table

FOLDER = "scorer"


def ship(profile: Profile, study: Study, table: Table) -> None:
    """Write scorer, thresholds, and the mean tokens of the large model alone over `table`. Raises StudyError."""
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
