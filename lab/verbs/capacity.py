"""`tandem plan --capacity`: pools for rates of requests, from stated rates or those of the profile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import typer
import yaml
from rich.table import Table

from lab.verbs.plan_options import parse_two
from tandem.cli.output import console, print_json
from tandem.cli.tables import print_table
from tandem.local.catalogue import catalogue
from tandem.method.profile.profile import Model, Profile
from tandem.paths import REPOSITORY
from tandem.planning.capacity import Capacity, Load, PodLimits, PodRates, Weights, plan_capacity

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_GIB = 1 << 30
_ROLES = {"llm": "insightGenerator", "scorer": "sufficiencyScorer", "slm": "slmExecutor"}


@dataclass(frozen=True)
class CapacityOptions:
    """Options of the command; empty or None where one is not given."""

    rps: tuple[float, ...]
    load: str
    llm_share: float
    llm_rate: str
    slm_rate: str
    scorer_rate: float | None
    batch: int
    utilisation: float
    usd_per_million_actions: float

    def show(self, profile: Profile, *, json: bool) -> None:
        """Raises typer.BadParameter."""
        load, rates, models = self._load(profile), self._rates(profile), _weights(profile)
        found = [plan_capacity(each, load, rates, models, pod_limits(), self.utilisation) for each in self.rps]
        if json:
            print_json(
                {
                    "load": asdict(load),
                    "utilisation": self.utilisation,
                    "capacity": [asdict(each) for each in found],
                    "usd_of_actions_per_request": self._usd_of_actions(found[0]),
                }
            )
            return
        console.print(
            f"a request: {load.question:.0f} tokens asked, {load.insight:.0f} of insight in {load.llm_share:.0%} of "
            "the requests, "
            f"{load.answer:.0f} answered; pods at most {self.utilisation:.0%} busy, {self.batch} sequences each"
        )
        print_table(_table(found, models))
        console.print(
            f"Temporal Cloud: {_actions(found[0]):.1f} actions a request, USD "
            f"{1000 * self._usd_of_actions(found[0]):.2f} for 1,000 "
            f"requests at USD {self.usd_per_million_actions:g} per million; one of your own bills none"
        )

    def _usd_of_actions(self, found: Capacity) -> float:
        return _actions(found) * self.usd_per_million_actions / 1e6

    def _load(self, profile: Profile) -> Load:
        if not self.load:
            middle = profile.stages[(len(profile.stages) - 1) // 2].max_tokens
            alone = profile.llm_alone.tokens("answer")
            return Load(200, middle, min(alone, profile.execution.max_tokens), self.llm_share)
        try:
            question, insight, answer = (float(part) for part in self.load.split("/"))
        except ValueError as error:
            raise typer.BadParameter(
                f"{self.load!r} is not three numbers, as in 200/300/400", param_hint="--load"
            ) from error
        return Load(question, insight, answer, self.llm_share)

    def _rates(self, profile: Profile) -> dict[str, PodRates]:
        measured, found = profile.rates, {}
        for role, typed, hint in (("llm", self.llm_rate, "--llm-rate"), ("slm", self.slm_rate, "--slm-rate")):
            if typed:
                found[role] = PodRates(*parse_two(typed, hint), self.batch)
            elif measured is not None:
                own = measured.by_role[role]
                found[role] = PodRates(own.input, own.output, self.batch)
            else:
                raise typer.BadParameter(
                    f"profile {profile.name} has no [rates]: give tokens a second that a pod reads and writes, as in "
                    "9000/1500",
                    param_hint=hint,
                )
        scored = self.scorer_rate or (measured.by_role["scorer"].input if measured else found["slm"].input)
        found["scorer"] = PodRates(scored, scored, self.batch)
        return found


def pod_limits() -> PodLimits:
    """Of the chart's values: what an install without values of its own for them has."""
    values = yaml.safe_load((REPOSITORY / "helm" / "values.yaml").read_text())
    gateway, worker = values["gateway"], values["worker"]
    return PodLimits(gateway["maxRequests"], _cores(gateway), _cores(worker))


def _cores(component: dict[str, Any]) -> float:
    """That a pod requests; on a full node it has no more. One Python process uses one at most."""
    wanted = str(component["resources"]["requests"]["cpu"])
    return min(1.0, float(wanted[:-1]) / 1000 if wanted.endswith("m") else float(wanted))


def _actions(found: Capacity) -> float:
    return found.actions_per_second / found.requests_per_second


def _weights(profile: Profile) -> dict[str, Weights]:
    llm, slm = _weights_of(profile.llm), _weights_of(profile.slm)
    return {"llm": llm, "slm": slm, "scorer": slm}


def _weights_of(model: Model) -> Weights:
    """On a GPU, where quantization is not used."""
    entry = catalogue().get(model.name)
    return Weights(model.parameters * _BYTES[model.dtype], float(entry.kv_bytes_per_token) if entry else 0.0)


def _table(found: list[Capacity], models: dict[str, Weights]) -> Table:
    rows = Table("requests/s", "pods of", "replicas", "busy", "reads/s", "writes/s", "at once", "GPU memory", box=None)
    for each in found:
        for number, need in enumerate(each.roles):
            memory = (
                f"{need.gpu_bytes / _GIB:.0f} GiB"
                if models[need.role].kv_per_token
                else f"{need.gpu_bytes / _GIB:.0f} GiB + cache"
            )
            rows.add_row(
                f"{each.requests_per_second:g}" if not number else "", _ROLES[need.role], str(need.replicas),
                f"{need.utilisation:.0%}", f"{need.input_per_second:,.0f}", f"{need.output_per_second:,.0f}",
                f"{need.at_once:.0f}", memory,
            )  # fmt: skip
        rows.add_row("", f"worker (maxLlm {each.max_llm})", str(each.workers))
        decides = max(each.gateways_by, key=lambda name: each.gateways_by[name])
        rows.add_row("", f"gateway (by {decides})", str(each.gateways), "", "", "", f"{each.streams:.0f}")
        for amount, unit in (
            (each.actions_per_second, "Temporal actions/s"),
            (each.transitions_per_second, "Temporal transitions/s"),
            (each.pollers, "Temporal pollers"),
            (each.redis_commands_per_second, "Redis commands/s"),
            (each.connections, "Redis connections"),
        ):
            rows.add_row("", f"{amount:,.0f} {unit}")
    return rows
