"""Stop strings through a real gateway, Temporal and Redis: whoever writes the answer, it ends before the first of
them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import pytest

from services.models.engine.api import EngineStopped, Finished, GenerationRequest, Token
from services.shared.request_log.connection import Role
from tandem import RequestError
from tandem.client.events import event_from_pb
from tandem.client.live_text import LiveText
from tandem.client.request import solve_request
from tandem.client.results import to_dict
from tandem.method.request.events import AnswerText
from tests.integration.asking import BOUND_SECONDS, ask, idle, shadow_of
from tests.integration.conftest import CheckedSystems, System

pytestmark = pytest.mark.asyncio(loop_scope="session")
CONTINUED = "[scores=16:0.9 llm=word_ slm=more_END_of_it slm_eos=40]"


def chat(script: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": script}]


async def chatted(system: System, script: str, **options: Any) -> dict[str, Any]:
    return to_dict(await system.client.ask(chat(script), **{"threshold": 0.8, **options}))


async def test_the_small_models_answer_ends_with_the_token_that_completes_the_string(system: System) -> None:
    before = system.slm.counters.output_tokens
    result = await chatted(system, CONTINUED, stop="END")
    assert result["answer"] == "word word word wmore"
    assert (result["complete"], result["stop"]["reason"]) == (True, "sufficient")
    assert result["reasoning"] == "more "
    assert result["usage"]["slm"]["output_tokens"] == len("more END")
    assert system.slm.counters.output_tokens - before == len("more END")


async def test_the_large_models_own_answer_ends_the_same_way(finishing_system: System) -> None:
    before = finishing_system.llm.counters.output_tokens
    result = to_dict(await finishing_system.client.ask(chat("[llm=word_END_of_it ms=2]"), stop=["END"]))
    assert (result["answer"], result["stop"]["reason"], result["complete"]) == ("word", "llm_finished", True)
    usage = result["usage"]["llm"]
    assert (usage["output_tokens"], usage["overrun_tokens"], usage["discarded_tokens"]) == (len("word END"), 0, 0)
    assert finishing_system.llm.counters.output_tokens - before == len("word END")
    assert result["usage"]["slm"]["output_tokens"] == 0


async def test_an_insight_that_is_the_answers_beginning_is_ended_too(system: System) -> None:
    """What is returned would have the string in it, and a large model alone would have ended there."""
    result = await chatted(system, "[llm=word_END_of_it slm=more slm_eos=9 scores=16:0.9 ms=2]", stop="END")
    assert (result["answer"], result["stop"]["reason"], result["usage"]["slm"]["output_tokens"]) == (
        "word", "llm_finished", 0,
    )  # fmt: skip


async def test_a_string_that_begins_in_the_insight_does_not_end_in_the_answer(system: System) -> None:
    """The stage ends after 16 tokens, and what may begin a string stays out of what the small model goes on from."""
    script = "[scores=14:0.9 llm=wwwwwwwwwwwwwwENdless slm=D_more slm_eos=7]"
    result = await chatted(system, script, stop="END")
    assert result["answer"] == "w" * 14 + "D more"
    assert result["complete"]


async def test_a_brief_is_not_ended(brief_system: System) -> None:
    script = "[llm=Goal:_END_it|Planning:_x slm=yes_END_no slm_eos=20 scores=6:0.9 llm_eos=40]"
    result = await chatted(brief_system, script, stop="END")
    assert (result["answer"], result["stop"]["reason"]) == ("yes", "sufficient")
    assert "END" in (await brief_system.log.streams.read(result["request_id"], Role.INSIGHT)).text


@pytest.mark.parametrize(
    ("script", "options", "answer", "complete"),
    [
        (r"[slm=\boxed{7}END\boxed{8} slm_eos=30]", {"stop": "END"}, "7", True),
        ("[slm=one||two|three slm_eos=30]", {"stop": ["three", "\n\n"]}, "one", True),
        ("[slm=one_two slm_eos=8]", {"stop": ["never"]}, "one two", True),
        ("[slm=one_EN slm_eos=7]", {"stop": ["END"]}, "one EN", True),
        ("[slm=aaaaaaaaaaaaaaENDs slm_eos=99]", {"stop": ["ENDs"], "max_answer_tokens": 17}, "a" * 14 + "END", False),
        ('[slm={"a":_1} slm_eos=9]', {"stop": [":"], "json_schema": "{}"}, '{"a"', True),
        ("[slm=END slm_eos=9]", {"stop": ["END"]}, "", True),
    ],
    ids=["boxed", "two-strings", "never", "ends-held", "cap-held", "json", "at-once"],
)  # fmt: skip
async def test_what_an_answer_is(
    system: System, script: str, options: dict[str, Any], answer: str, complete: bool
) -> None:
    result = await ask(system, script.replace("]", " scores=0:0.9]"), **options)
    assert (result["answer"], result["complete"]) == (answer, complete)


async def test_a_trial_is_cut_before_it_is_checked(checked_systems: CheckedSystems) -> None:
    system = await checked_systems("scripted-checked")
    result = await ask(system, "[slm=yesENDno slm_eos=12]", checks=["choice:yes"], stop="END")
    assert (result["answer"], result["stop"]["reason"]) == ("yes", "verified")
    assert result["trials"][0]["usage"]["output_tokens"] == len("yesEND")


async def test_the_shadow_ends_at_the_same_strings(shadowed_system: System) -> None:
    request_id = uuid4().hex
    script = "[scores=0:0.9 slm=yes_END slm_eos=20 llm=yes_END_no]"
    await shadowed_system.client.ask(chat(script), request_id=request_id, threshold=0.8, stop="END")
    shadow = await shadow_of(shadowed_system, request_id)
    assert (shadow["answer"], shadow["agrees"], shadow["output_tokens"]) == ("yes", True, len("yes END"))


async def test_a_stream_never_shows_what_may_begin_a_string(system: System) -> None:
    asked = solve_request(chat("[scores=0:0.9 slm=one_EN_two_END_three slm_eos=40 ms=12]"), threshold=0.8, stop="END")
    live, shown, written = LiveText(AnswerText.CONTINUATION), [], ""
    async with aclosing(system.client.messages(asked)) as messages:
        async for message in messages:
            written += message.answer_delta.text
            assert not written.endswith(("E", "EN"))
            if event := event_from_pb(message):
                shown.append(live.push(event).content)
    assert ("".join(shown), written) == ("one EN two", "one EN two ")
    assert len([piece for piece in shown if piece]) > 3  # in pieces, not at the end


async def test_a_reader_who_comes_back_reads_the_same_text(system: System) -> None:
    asked = solve_request(chat("[scores=0:0.9 slm=one_EN_two_END_three slm_eos=40 ms=12]"), threshold=0.8, stop="END")
    async with aclosing(system.client.messages(asked)) as messages:
        seen = [message async for message in messages]
    texts = [message.answer_delta.text for message in seen]
    assert "".join(texts) == "one EN two "
    for number, message in enumerate(seen[:-1]):
        asked.resume_after = message.cursor
        async with aclosing(system.client.messages(asked)) as messages:
            rest = [message.answer_delta.text async for message in messages]
        assert "".join([*texts[: number + 1], *rest]) == "one EN two "


async def test_the_retry_of_a_large_model_goes_on_within_a_string(
    finishing_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt dies after the stage that ends within the string: its text is held back, and known to the
    second one.
    """
    system, request_id = finishing_system, uuid4().hex
    whole, failed = system.llm.generate, False

    async def until_stage_one() -> None:
        deadline = time.monotonic() + BOUND_SECONDS
        while 1 not in (await system.log.streams.read(request_id, Role.INSIGHT)).stage_ends:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.005)

    async def generate(generation: GenerationRequest) -> AsyncGenerator[Token | Finished, None]:
        nonlocal failed
        async with aclosing(whole(generation)) as items:
            number = 0
            async for item in items:
                yield item
                number += 1
                if number == 16 and not failed:
                    failed = True
                    await until_stage_one()
                    raise EngineStopped("the engine died")

    monkeypatch.setattr(system.llm, "generate", generate)
    before = system.llm.counters.output_tokens
    script = chat("[llm=wwwwwwwwwwwwwwENDING_of_it ms=2]")
    result = to_dict(await system.client.ask(script, request_id=request_id, stop="ENDING"))
    assert (result["answer"], result["attempts"], result["stop"]["reason"]) == ("w" * 14, 2, "llm_finished")
    assert result["usage"]["llm"]["output_tokens"] == 20
    assert system.llm.counters.output_tokens - before == 20
    text = (await system.log.streams.read(request_id, Role.INSIGHT)).text_to_stage(1)
    assert text == "w" * 14


async def test_another_stop_is_another_request(system: System) -> None:
    request_id = uuid4().hex
    first = await ask(system, "[slm_eos=5 scores=0:0.9]", request_id=request_id, stop=["a", "b"])
    await idle(system)
    assert await ask(system, "[slm_eos=5 scores=0:0.9]", request_id=request_id, stop=["a", "b"]) == first
    for other in (["a"], ["b", "a"], None):
        with pytest.raises(RequestError) as caught:
            await ask(system, "[slm_eos=5 scores=0:0.9]", request_id=request_id, stop=other)
        assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_the_bounds_are_in_the_refusal_and_included(system: System) -> None:
    most = ["x" * 64, "y", "z", "é"]
    assert (await ask(system, "[slm=a slm_eos=5 scores=0:0.9]", stop=most))["answer"] == "aaaa"
    for bad, said in (
        ([*most, "w"], "at most 4 .* not 5"),
        (["x" * 65], "1 to 64 .* not 65"),
        ("", "1 to 64 .* not 0"),
    ):
        with pytest.raises(RequestError, match=said) as caught:
            await ask(system, "why?", stop=bad)
        assert (caught.value.code.name, caught.value.field) == ("INVALID_ARGUMENT", "stop_strings")
