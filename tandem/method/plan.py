"""What a profile says about one request."""

from __future__ import annotations

from tandem.method.prices import RolePrices
from tandem.method.profile import Profile
from tandem.method.prompts import Task
from tandem.method.shared import Plan, Prices, StagePlan


def make_plan(profile: Profile, task: Task = "answer") -> Plan:
    prices = profile.prices
    return Plan(
        profile=profile.name,
        handoff=profile.handoff,
        llm=profile.llm.name,
        slm=profile.slm.name,
        llm_parameters=profile.llm.parameters,
        slm_parameters=profile.slm.parameters,
        stages=[StagePlan(s.name, s.max_tokens, s.threshold) for s in profile.stages],
        scores_stage_zero=profile.stop.stage_zero,
        stage_zero_threshold=profile.stop.stage_zero_threshold,
        answer_max_tokens=profile.execution.max_tokens,
        answer_format="code" if task == "code" else profile.execution.answer_format,
        task=task,
        prices=Prices(
            version=prices.version,
            llm=RolePrices(**prices.llm.model_dump()),
            slm=RolePrices(**prices.slm.model_dump()),
            scorer=RolePrices(**prices.scorer.model_dump()),
        ),
        llm_alone_output_tokens=profile.llm_alone.output_tokens,
        shadow_share=profile.shadow.share,
        llm_finishes=profile.stop.otherwise == "llm_finishes",
        reads_ahead=profile.execution.reads_ahead,
        away_seconds=profile.execution.away_seconds,
    )
