"""Conversations through a real gateway, Temporal and Redis: what is read, refused, repeated and answered."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.models.engine.api import GenerationRequest
from tandem import Accepted, RequestError, to_dict
from tandem.v1 import tandem_pb2
from tests.integration.asking import ask, idle, shadow_of
from tests.integration.conftest import CheckedSystems, System

pytestmark = pytest.mark.asyncio(loop_scope="session")


def conversation(last: str, first: str = "[slm_eos=5 scores=16:0.9]") -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": first},
        {"role": "assistant", "content": "Said before."},
        {"role": "user", "content": last},
    ]


@pytest.fixture
def prompts(system: System, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What each model has read, by role."""
    read: dict[str, str] = {}
    for role, engine in (("llm", system.llm), ("slm", system.slm)):

        def generate(generation: GenerationRequest, role: str = role, engine: Any = engine) -> Any:
            read[role] = engine.tokenizer.decode(generation.prompt_ids)
            return type(engine).generate(engine, generation)

        monkeypatch.setattr(engine, "generate", generate)
    return read


async def test_both_models_and_the_scorer_read_the_conversation(system: System, prompts: dict[str, str]) -> None:
    result = await ask(system, conversation("And now?"), task="answer")
    said = "system: Be brief.user: [slm_eos=5 scores=16:0.9]assistant: Said before.user: And now?\nassistant: "
    assert prompts["llm"] == said
    assert prompts["slm"].startswith(said + "x")
    # The script, and so the score, is in the first message.
    assert (result["stop"]["reason"], result["stop"]["stage"]) == ("sufficient", 1)
    assert result["question"] == "And now?"


async def test_a_conversation_is_a_chat_and_a_question_is_not(system: System, prompts: dict[str, str]) -> None:
    chat = await ask(system, conversation("And now?", "[slm=yes_ slm_eos=5 scores=16:0.9]"), threshold=0.8)
    assert chat["answer"] == "x" * 16 + "yes"  # insight and what follows it
    answer = await ask(system, r"[slm=\boxed{7}_ slm_eos=10 scores=16:0.9]")
    assert (answer["answer"], answer["text"]) == ("7", "x" * 16 + r"\boxed{7}")
    code = await ask(system, conversation("f()"), task="code")
    assert code["stop"]["reason"] == "sufficient"
    assert "user: complete f()" in prompts["slm"]


async def test_a_question_may_be_a_chat(system: System) -> None:
    result = await ask(system, "[slm=yes_ slm_eos=5 scores=0:0.9]", task="chat", threshold=0.8)
    assert result["answer"] == "yes"


async def test_a_chat_that_the_profile_does_not_score_is_the_large_models(finishing_system: System) -> None:
    result = await ask(finishing_system, conversation("And now?", "[llm=word_ llm_eos=11 scores=0:0.9]"))
    assert (result["stop"]["reason"], result["answer"]) == ("llm_finished", "word word")
    assert (result["stages"], result["usage"]["slm"]["output_tokens"]) == ([], 0)


async def test_a_chat_with_a_check_is_checked_and_not_tried(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-checked")
    question = [{"role": "user", "content": "[slm=yes slm_eos=4 llm=yes llm_eos=4]"}]
    result = to_dict(await system.client.ask(question, checks=["choice:yes"]))
    assert (result["stop"]["reason"], result["trials"]) == ("llm_finished", [])
    assert [(check["role"], check["verdict"]) for check in result["checks"]] == [("llm", "pass")]


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        (conversation("x")[:3], "ends with the user's"),
        ([*conversation("x"), *conversation("x")], "only the first one"),
        ([{"role": "user", "content": " "}], "empty"),
        (
            conversation("y" * 300, "x" * 300),
            "the conversation has 645 tokens, 45 too many; profile scripted takes 600",
        ),
    ],
)
async def test_what_is_no_conversation_is_refused(system: System, messages: list[dict[str, str]], said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        await ask(system, messages)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.field in ("messages", "question")


async def test_a_conversation_may_be_longer_than_a_question(system: System) -> None:
    long = conversation("And now?", "x" * 350 + "[slm_eos=5 scores=0:0.9]")
    assert (await ask(system, [*long[:3], {"role": "user", "content": "y" * 100}], threshold=0.8))["answer"]
    first = [{"role": "user", "content": "y" * 450 + "[slm_eos=5 scores=0:0.9]"}]
    assert (await ask(system, first, threshold=0.8))["answer"]
    with pytest.raises(RequestError, match="the question has 401 tokens, 1 too many; profile scripted takes 400"):
        await ask(system, "y" * 401)


async def test_a_question_and_messages_together_are_refused(system: System) -> None:
    both = tandem_pb2.SolveRequest(question="why?", messages=[tandem_pb2.Message(speaker=2, text="why?")])
    with pytest.raises(RequestError, match="not both"):
        async for _ in system.client.solve_request(both):
            pass


async def test_a_repeated_conversation_joins_and_another_is_refused(system: System) -> None:
    request_id, said = uuid4().hex, conversation("And now?")
    first = await ask(system, said, request_id=request_id)
    await idle(system)
    spent = system.slm.counters.output_tokens + system.llm.counters.output_tokens
    assert await ask(system, said, request_id=request_id) == first
    assert system.slm.counters.output_tokens + system.llm.counters.output_tokens == spent
    others = (said[:1] + said[3:], conversation("And now?", "[slm_eos=6]"), "And now?")
    for other in others:
        with pytest.raises(RequestError) as caught:
            await ask(system, other, request_id=request_id)
        assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_chat_may_be_briefed(brief_system: System) -> None:
    script = "[llm=Goal:_x|Planning:_ slm=yes_ slm_eos=5 scores=6:0.9 llm_eos=40]"
    result = to_dict(await brief_system.client.ask(conversation("And now?", script), threshold=0.8))
    assert (result["answer"], result["stop"]["reason"]) == ("yes", "sufficient")


async def test_the_shadow_reads_the_conversation(shadowed_system: System) -> None:
    request_id = uuid4().hex
    said = conversation("And now?", "[scores=0:0.9 slm=yes_ slm_eos=5 llm=yes_ llm_eos=5]")
    await shadowed_system.client.ask(said, request_id=request_id, threshold=0.8)
    shadow = await shadow_of(shadowed_system, request_id)
    assert (shadow["answer"], shadow["agrees"]) == ("yes", True)


async def test_the_answers_cap_holds_for_whoever_writes_it(system: System, finishing_system: System) -> None:
    script = "[llm=word_ slm=more_ slm_eos=99 scores=16:0.9]"
    alone = await ask(finishing_system, conversation("And now?", script), max_answer_tokens=9)
    assert (alone["answer"], alone["complete"], alone["usage"]["llm"]["output_tokens"]) == ("word word", False, 9)
    shared = await ask(system, conversation("And now?", script), max_answer_tokens=20, threshold=0.8)
    assert (shared["answer"], shared["complete"]) == ("word word word wmore", False)
    small = await ask(system, conversation("And now?", script), max_answer_tokens=16, threshold=0.8)
    assert (small["answer"], small["usage"]["llm"]["output_tokens"]) == ("more more more m", 0)
    with pytest.raises(RequestError) as caught:
        await ask(system, "why?", max_answer_tokens=0)
    assert caught.value.field == "max_answer_tokens"


async def test_a_request_says_where_its_answers_text_will_come_from(
    system: System, finishing_system: System, brief_system: System, checked_systems: CheckedSystems
) -> None:
    tried = await checked_systems("scripted-later")
    chat = conversation("And now?", "[slm_eos=3 llm_eos=3 scores=0:0.9]")
    for asked, question, options, source in (
        (system, chat, {"threshold": 0.8}, "continuation"),
        (finishing_system, chat, {}, "insight"),
        (finishing_system, chat, {"threshold": 0.8}, "continuation"),
        (finishing_system, chat, {"max_llm_tokens": 40}, "continuation"),
        (brief_system, chat, {}, "answer"),
        (system, "[slm_eos=3 scores=0:0.9]", {}, "continuation"),
        (system, "[slm_eos=3 scores=0:0.9]", {"code": True}, "unspecified"),
        (tried, "[slm_eos=3 llm_eos=3]", {"checks": ["agreement"]}, "unspecified"),
    ):
        request_id = uuid4().hex
        for _ in range(2):  # the second one joins
            seen = [event async for event in asked.client.solve(question, request_id=request_id, **options)]
            assert isinstance(seen[0], Accepted)
            assert seen[0].answer_text == source
