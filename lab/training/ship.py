"""Write the policy of a study into its profile, from which the services load it. Comments in the file are preserved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import tomlkit
from tomlkit.items import InlineTable

from lab.training.checking import agreement_check, code_checks
from lab.training.policy import Policy
from lab.training.study import Study
from lab.training.table import Table
from tandem.method.evidence.checks import AGREEMENT
from tandem.method.profile.prices import Rates, RoleRates
from tandem.method.profile.profile import Profile

FOLDER = "scorer"


def ship(profile: Profile, study: Study, table: Table) -> None:
    """Write scorer, thresholds, trial, checks, and the mean tokens of the large model alone over `table`. Raises
    StudyError.
    """
    policy = study.policies().served
    study.artefact(policy.kind).save(profile.folder / FOLDER)
    ship_policy(profile, policy, table)


def ship_policy(profile: Profile, policy: Policy, table: Table) -> None:
    """Write all but the scorer's weights."""
    file = profile.folder / "profile.toml"
    document = tomlkit.parse(file.read_text())
    stop: Any = document["stop"]
    stop["scorer"] = f"{policy.kind}:{FOLDER}"
    stop["stage_zero_threshold"] = round(policy.thresholds[0], 4)
    stop["otherwise"] = "llm_finishes" if policy.llm_finishes else "best_stage"
    llm_alone: Any = document["llm_alone"]
    llm_alone["output_tokens"] = round(float(table.llm.tokens.mean()))
    stages: Any = document["stages"]
    for stage, threshold in zip(stages, policy.thresholds[1:], strict=True):
        stage["threshold"] = round(threshold, 4)
    kept = type(profile.trial).model_fields  # what agrees has a table of its own
    trial = {name: value for name, value in asdict(policy.trial).items() if name in kept}
    if len(profile.small) == 1:  # then nobody else could try
        del trial["order"]
    _update(document, "trial", trial)
    _update(document, "checks", _checks(profile, policy, keeps_agreement=not table.is_checked.any()))
    file.write_text(tomlkit.dumps(document))


def ship_rates(profile: Profile, rates: Rates) -> None:
    """Write measured rates, rounded to three digits."""
    file = profile.folder / "profile.toml"
    document = tomlkit.parse(file.read_text())
    _update(
        document, "rates", {"version": rates.version, **{role: _role(each) for role, each in rates.by_role.items()}}
    )
    file.write_text(tomlkit.dumps(document))


def _role(rates: RoleRates) -> InlineTable:
    table = tomlkit.inline_table()
    table.update({kind: float(f"{value:.3g}") for kind, value in asdict(rates).items()})
    return table


def _checks(profile: Profile, policy: Policy, *, keeps_agreement: bool) -> dict[str, list[str]]:
    """By task. Without trials no answer is checked, unless the profile does so already. `keeps_agreement`: of programs,
    which nothing was learned about.
    """
    kept = {"answer": list(profile.checks.answer), "code": list(profile.checks.code)}
    if policy.trial.stages:
        compared = agreement_check(profile) if policy.programs_agree or keeps_agreement else None
        kept["code"] = [str(spec) for spec in (*code_checks(profile), compared) if spec]
        if policy.agreement:
            kept["answer"] = [f"{AGREEMENT}:{policy.agreement}"]
    return kept


def _update(document: tomlkit.TOMLDocument, name: str, values: Mapping[str, Any]) -> None:
    """Set the keys of a section, which is added at the end where it is missing."""
    if name not in document:
        document.add(tomlkit.nl())
        document.add(name, tomlkit.table())
    section: Any = document[name]
    for key, value in values.items():
        section[key] = value
