"""Second answers of the small model: after its answer to the bare question failed its check, it reads why."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

from lab.training.collect import Insight, Run, run_of
from lab.training.datasets import Item
from services.engine.api import Engine, GenerationRequest
from services.engine.batch import generate, run_all
from tandem.method.checks import Repair, Verdict
from tandem.method.profile import Profile
from tandem.method.prompts import repair_prompt


def unrepaired(runs: Sequence[Run]) -> list[Run]:
    """Answers to the bare question that failed and have no repair yet."""
    repaired = {run.question for run in runs if run.name == "repair"}
    first = [run for run in runs if (run.name, run.stage) == ("slm", 0)]
    return [run for run in first if run.verdict == Verdict.FAIL and run.question not in repaired]


def repair_all(
    failed: Sequence[Run], items: Mapping[str, Item], profile: Profile, slm: Engine, width: int
) -> AsyncIterator[Run]:
    """One repair for each, `width` at a time, in the order in which they end; not checked yet."""

    async def repair(run: Run) -> Run:
        item = items[run.question]
        prompt = repair_prompt(profile, slm.tokenizer, item.question, Repair(run.text, run.failure), item.task)
        request = GenerationRequest(f"{item.id}/repair", prompt.ids, profile.execution.max_tokens)
        return run_of(item, "repair", Insight(), len(prompt.ids), await generate(slm, request))

    return run_all(repair, failed, width)
