"""Two pairs with models in common: one process of each model serves both, each request by the profile that it was
planned with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from kserve import InferInput, InferRequest

from services.insight_generator.generator import InsightGenerator
from services.shared.process.served_profiles import ServedProfiles, shared_model
from services.shared.request_log.log import RequestLog
from services.slm_executor.generator import AnswerGenerator
from services.sufficiency_scorer.scorers import make_scorer
from services.sufficiency_scorer.service import MODEL_NAME, SufficiencyModel
from services.sufficiency_scorer.stage_scorer import StageScorer, StageScorers
from tandem.method.errors import PROFILE_MISMATCH, FailedPrecondition, InvalidArgument
from tandem.method.profile.profile import Profile, load_profile
from tests.fakes import ScriptedEngine
from tests.steps import Asked, asked

pytestmark = pytest.mark.asyncio(loop_scope="session")
OURS, THEIRS = "{question}", "They ask:\n{question}"


@pytest_asyncio.fixture(loop_scope="session")
async def log(redis_url: str) -> AsyncIterator[RequestLog]:
    log = RequestLog(redis_url, timedelta(hours=2))
    yield log
    await log.close()


def pair(folder: Path, name: str, question: str, model: dict[str, str] | None = None) -> Profile:
    profile = load_profile("scripted", (folder,))
    prompts = profile.prompts.model_copy(update={"question": question, "brief_answer": ""})
    slm = profile.slm.model_copy(update=model or {})
    return profile.model_copy(update={"name": name, "prompts": prompts, "small": (slm,)})


@pytest.fixture
def pairs(profiles_folder: Path) -> tuple[Profile, Profile]:
    return pair(profiles_folder, "ours", OURS), pair(profiles_folder, "theirs", THEIRS)


def prompts_of(engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with what the engine is asked to go on from."""
    seen: list[str] = []
    generate = engine.generate
    monkeypatch.setattr(engine, "generate", lambda r: seen.append(engine.tokenizer.decode(r.prompt_ids)) or generate(r))
    return seen


def task(profile: Profile | None, **fields: object) -> Asked:
    digest = profile.digest if profile else ""
    return asked(uuid4().hex, "[llm_eos=5 slm_eos=5] why?", "ours", profile_digest=digest, epoch=1, **fields)  # type: ignore[arg-type]


async def test_both_generators_write_by_the_profile_of_each_request(
    log: RequestLog, pairs: tuple[Profile, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    llm, slm = ScriptedEngine("scripted-llm"), ScriptedEngine("scripted-slm")
    insight, answer = InsightGenerator(llm, log, *pairs), AnswerGenerator(slm, log, *pairs)
    for generator, engine, caps in ((insight, llm, (16, 32, 48)), (answer, slm, (16,))):
        seen = prompts_of(engine, monkeypatch)
        for profile in (*pairs, None):
            async for _ in generator.generate(*task(profile, max_tokens=caps)):
                pass
        assert ["They ask" in prompt for prompt in seen] == [False, True, False]
        with pytest.raises(
            FailedPrecondition, match=r"serves the profiles ours .*theirs .*was planned with"
        ) as refused:
            await anext(generator.generate(*asked("x", "why?", "ours", profile_digest="of-neither", epoch=1)))
        assert refused.value.reason == PROFILE_MISMATCH


async def test_the_scorer_of_each_request_is_its_profiles(log: RequestLog, pairs: tuple[Profile, Profile]) -> None:
    engine = ScriptedEngine("scripted-slm")
    scores = {profile.name: score for profile, score in zip(pairs, (0.25, 0.75), strict=True)}

    def make(profile: Profile) -> StageScorer:
        return StageScorer(engine, log, profile, make_scorer(f"constant:{scores[profile.name]}"))

    model = SufficiencyModel(StageScorers(*pairs, make=make), "scripted-slm")
    for profile, score in zip(pairs, (0.25, 0.75), strict=True):
        inputs = [InferInput("question", [1], "BYTES", ["1+1?"]), InferInput("insight", [1], "BYTES", ["2"])]
        reply = await model.predict(InferRequest(MODEL_NAME, inputs, parameters={"profile_digest": profile.digest}))
        assert reply.outputs[0].data == [score]


async def test_pairs_that_name_other_models_cannot_share_a_process(profiles_folder: Path) -> None:
    first = pair(profiles_folder, "ours", OURS)
    for changed, what in (({"name": "other"}, "other"), ({"quantization": "none"}, "none")):
        second = pair(profiles_folder, "theirs", OURS, changed)
        with pytest.raises(InvalidArgument, match=f"profiles ours and theirs cannot share a process.*{what}"):
            shared_model((first, second), lambda profile: profile.slm)
        assert shared_model((first, second), lambda profile: profile.llm) == first.llm


async def test_thresholds_alone_make_no_other_profile(profiles_folder: Path) -> None:
    first, second = pair(profiles_folder, "ours", OURS), pair(profiles_folder, "theirs", OURS)
    served = ServedProfiles(first, second)
    assert await served.of(second.digest) is await served.of("") is first
    with pytest.raises(FailedPrecondition, match="was planned with 0123"):
        await served.of("0123")
