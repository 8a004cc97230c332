"""What both models make of each question: every answer that any stop could lead to, and what the scorer would read.

For one question: the large model's whole answer, its concise answer, the answer it is forced to after each stage; and
for every stage (0: no insight) the small model's answer, its tokens, the scorer's features and pooled states. Prompts,
stage ends and features are those of serving. Both engines work at once; a question's small jobs begin when its large
one ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.engine.api import Engine, FinishReason, GenerationRequest, Token
from services.engine.batch import Completion, generate, run_all
from services.engine.tokenizer import Detokenizer
from services.insight_generator.stages import StageSplitter
from services.sufficiency_scorer.evidence import Evidence
from services.sufficiency_scorer.features import features
from tandem.method.profile import Profile
from tandem.method.prompts import Prompt, answer_prompt, insight_prompt, llm_alone_prompt
from training.datasets import Item
from training.grading import grade

CONCISE = "{question}\n\nReason briefly, and put your final answer within \\boxed{}."
_FORCED = "\n\nThe final answer is \\boxed{"
_FORCED_TOKENS = 24


@dataclass(frozen=True, slots=True)
class Run:
    """One way to an answer. `name` is llm, concise, forced (the large model, cut off after `stage`) or slm (from `stage`).

    Token counts are what the run itself reads and writes; `insight_tokens` of its prompt are the large model's.
    For slm the scorer reads the same prompt: `features` float32[16], `states` float16[2 d]. `answer_features` are
    those of the small model's answer, read after its prompt (stage 0): what a cascade decides by. `asked` is the
    question's text, kept with the large model's run.
    """

    question: str
    subject: str
    name: str
    stage: int
    prompt_tokens: int
    insight_tokens: int
    output_tokens: int
    truncated: bool
    text: str
    answer: str
    right: bool
    features: NDArray[np.float32] | None = None
    states: NDArray[np.float16] | None = None
    answer_features: NDArray[np.float32] | None = None
    asked: str = ""


@dataclass(frozen=True, slots=True)
class Insight:
    """The large model's text and tokens up to the end of one stage; stage 0 is none."""

    stage: int = 0
    text: str = ""
    tokens: int = 0


class Collector:
    """`extras`: the concise and the forced runs too, which only an evaluation needs. `only_question`: no stage but 0."""

    def __init__(
        self, profile: Profile, llm: Engine, slm: Engine, *, extras: bool = False, only_question: bool = False
    ) -> None:
        self._profile, self._llm, self._slm = profile, llm, slm
        self._extras, self._cap = extras and not only_question, profile.execution.max_tokens
        self._only_question = only_question
        self._is_brief = profile.handoff == "brief"
        prompts = profile.prompts.model_copy(update={"question": CONCISE})
        self._concise = profile.model_copy(update={"prompts": prompts})

    def collect(self, items: Iterable[Item], width: int) -> AsyncIterator[list[Run]]:
        """Each question's runs as they are complete, `width` questions at a time."""
        return run_all(self._question, items, width)

    async def _question(self, item: Item) -> list[Run]:
        runs, insights = await self._mentor(item)
        stages = [Insight()] if self._only_question else [Insight(), *insights]
        prompts = [answer_prompt(self._profile, self._slm.tokenizer, item.question, i.text, item.task) for i in stages]
        # The longest prompt first: the others share its keys and values.
        answering = [
            asyncio.create_task(self._answer(item, i, p)) for i, p in list(zip(stages, prompts, strict=True))[::-1]
        ]
        seen = [await self._read(item, prompt, i.stage) for prompt, i in zip(prompts, stages, strict=True)]
        answers = (await asyncio.gather(*answering))[::-1]
        in_answer = None if self._only_question else await self._read_answer(item, prompts[0], answers[0])
        for insight, prompt, answer, evidence in zip(stages, prompts, answers, seen, strict=True):
            own: dict[str, Any] = {
                "features": evidence.features,
                "states": evidence.states.astype(np.float16),
                "answer_features": None if insight.stage else in_answer,
            }
            runs.append(_run(item, "slm", insight, len(prompt.ids), answer, **own))
        return runs

    async def _mentor(self, item: Item) -> tuple[list[Run], list[Insight]]:
        prompt = llm_alone_prompt(self._profile, self._llm.tokenizer, item.question, item.task)
        jobs = [self._generate(self._llm, f"{item.id}/llm", prompt.ids, self._cap)]
        if self._is_brief:
            brief = insight_prompt(self._profile, self._llm.tokenizer, item.question, item.task)
            jobs.append(self._generate(self._llm, f"{item.id}/brief", brief.ids, self._profile.stages[-1].max_tokens))
        if self._extras and item.task == "answer":
            short = llm_alone_prompt(self._concise, self._llm.tokenizer, item.question)
            jobs.append(self._generate(self._llm, f"{item.id}/concise", short.ids, self._cap))
        done = await asyncio.gather(*jobs)
        insights = self._insights(done[1] if self._is_brief else done[0], prompt)
        runs = [_run(item, "llm", Insight(), len(prompt.ids), done[0], asked=item.question)]
        if self._extras and item.task == "answer":
            runs.append(_run(item, "concise", Insight(), len(short.ids), done[-1]))
            if not self._is_brief:
                runs += await asyncio.gather(*(self._forced(item, prompt, done[0].ids, i) for i in reversed(insights)))
        return runs, insights

    def _insights(self, written: Completion, prompt: Prompt) -> list[Insight]:
        """The stages that serving would have cut the text into (services.insight_generator.stages)."""
        caps = [stage.max_tokens for stage in self._profile.stages]
        splitter = StageSplitter(caps, self._profile.section_ends if self._is_brief else ())
        detokenizer = Detokenizer(self._llm.tokenizer, prompt.ids)
        is_over = written.reason is FinishReason.EOS
        ids = written.ids[:-1] if is_over else written.ids[: caps[-1]]
        pieces = splitter.push([Token(i, detokenizer.push(i), 0.0) for i in ids])
        if is_over or self._is_brief:
            pieces += splitter.flush("", "eos" if is_over else "length")
        insights, text, tokens = [], "", 0
        for piece in pieces:
            text, tokens = text + piece.text, tokens + len(piece.ids)
            if piece.stage:
                insights.append(Insight(piece.stage, text, tokens))
        return insights

    async def _forced(self, item: Item, prompt: Prompt, ids: Sequence[int], insight: Insight) -> Run:
        """Budget forcing: the large model is cut off and made to answer."""
        forced = (*prompt.ids, *ids[: insight.tokens], *self._llm.tokenizer.encode(_FORCED))
        done = await self._generate(self._llm, f"{item.id}/forced{insight.stage}", forced, _FORCED_TOKENS)
        return _run(item, "forced", insight, len(forced), done, text="\\boxed{" + done.text)

    async def _answer(self, item: Item, insight: Insight, prompt: Prompt) -> Completion:
        key = f"{item.id}/slm{insight.stage}"
        return await self._generate(self._slm, key, prompt.ids, self._profile.execution.max_tokens)

    async def _read(self, item: Item, prompt: Prompt, stage: int) -> Evidence:
        """What the scorer sees of a prompt."""
        return Evidence.of(await self._slm.score(item.id, prompt.ids), prompt, stage, item.question)

    async def _read_answer(self, item: Item, prompt: Prompt, answer: Completion) -> NDArray[np.float32]:
        scoring = await self._slm.score(item.id, prompt.ids + answer.ids)
        begin = len(prompt.ids) - 1
        return features(scoring.logprobs[begin:], scoring.entropies[begin:])

    async def _generate(self, engine: Engine, key: str, ids: Sequence[int], most: int) -> Completion:
        return await generate(engine, GenerationRequest(key, tuple(ids), most))


def _run(
    item: Item, name: str, insight: Insight, prompt_tokens: int, done: Completion, text: str = "", **read: Any
) -> Run:
    graded = grade(item, text or done.text, insight.text)
    return Run(
        question=item.id,
        subject=item.subject,
        name=name,
        stage=insight.stage,
        prompt_tokens=prompt_tokens,
        insight_tokens=insight.tokens,
        output_tokens=len(done.ids),
        truncated=done.reason is FinishReason.LENGTH,
        text=text or done.text,
        answer=graded.answer,
        right=graded.is_right,
        **read,
    )
