"""Small models that are asked together: what they say alike is served, who cannot agree any more is stopped, and each
token is billed.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from tandem import Checked, RequestError, to_dict
from tandem.method.names import beside_id
from tests.integration.asking import BOUND_SECONDS, ask, changed, generated, idle
from tests.integration.conftest import SPANS, System, run_system
from tests.integration.edge import serving
from tests.integration.test_batch import read, run
from tests.integration.test_second_model import billed, counted, since
from tests.integration.test_tools import PARAMETERS, PARIS, ROME, WEATHER, called

pytestmark = pytest.mark.asyncio(loop_scope="session")
OTHER = {"type": "function", "function": {"name": "f", "description": "Else.", "parameters": PARAMETERS}}
OF_OTHER = '<call>f_{"at":_"Paris"}</call>'
NOBODY = "It_is_sunny."
KINDS = 'kinds = ["tools", "answer", "json", "option"]'
Systems = Callable[..., Awaitable[System]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def agreeing(
    redis_url: str,
    temporal_address: str,
    checker_address: str,
    profiles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Systems]:
    """Three small models and a large one, by a rule."""
    running: dict[str, System] = {}
    async with AsyncExitStack() as stack:

        async def system_of(rule: str = "both", more: str = "", kinds: str = KINDS, **options: Any) -> System:
            told = [rule.replace(" ", ""), more.replace(" ", "").replace("=", "")]
            told += ["other"] * (kinds != KINDS)
            name = "-".join(filter(None, [*told, *options]))
            if name not in running:
                folder = tmp_path_factory.mktemp("agreeing") / "scripted-together"
                shutil.copytree(profiles_folder / "scripted-together", folder)
                text = (folder / "profile.toml").read_text().replace('rule = "both"', f'rule = "{rule}"\n{more}')
                text = text.replace(KINDS, kinds)
                (folder / "profile.toml").write_text(text)
                system = run_system(
                    *("scripted-together", folder.parent, redis_url, temporal_address, checker_address),
                    alias=name.lower(),
                    **options,
                )
                running[name] = await stack.enter_async_context(system)
            return running[name]

        yield system_of


def said(slm: str, second: str, llm: str = ROME, more: str = "") -> list[dict[str, Any]]:
    texts = {"slm": slm, "second": second, "llm": llm}
    script = " ".join(f"{role}={text} {role}_eos={len(text) + 1}" for role, text in texts.items())
    return [{"role": "user", "content": f"[{script} {more}]"}]


async def asked(system: System, *script: str, has_tools: bool = True, **options: Any) -> dict[str, Any]:
    """The result, whose bill is what the models have counted."""
    before = counted(system)
    result = await ask(system, said(*script), tools=[WEATHER, OTHER] if has_tools else [], **options)
    await idle(system)
    assert billed(result["usage"]) == since(before, system)
    assert result["cost"]["usd"] == pytest.approx(sum(result["cost"]["usd_by_role"].values()))
    return result


async def test_a_call_that_both_make_is_the_first_ones_and_the_large_model_is_not_asked(agreeing: Systems) -> None:
    same_call = '<call>w_{"at":"Paris"}</call>'
    result = await asked(await agreeing(), PARIS, same_call)
    assert called(result) == [("w", {"at": "Paris"})]
    assert (result["answered_by"], result["stop"]["reason"], result["complete"]) == ("slm", "verified", True)
    assert generated(result["usage"]["llm"]) == 0
    assert [(t["role"], t["verdict"]) for t in result["trials"]] == [("slm", "pass"), ("second_slm", "pass")]
    [check] = result["checks"]
    assert (check["name"], check["verdict"]) == ("agreement", "pass")
    assert check["detail"] == "the small model and the second small model agree"


async def test_who_writes_another_functions_name_is_cut_and_the_large_model_answers(agreeing: Systems) -> None:
    result = await asked(await agreeing(), PARIS, OF_OTHER + "and_much_more", ROME, "second_hold=12 ms=2")
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Rome"})], "llm")
    assert 0 < generated(result["usage"]["second_slm"]) <= 12  # of 43: it would have been held for ever
    assert [c["verdict"] for c in result["checks"]] == ["fail"]
    assert result["checks"][0]["detail"] == "the small model and the second small model differ"


async def test_another_first_argument_cuts_as_soon_as_its_value_has_ended(agreeing: Systems) -> None:
    second = '<call>w_{"at":_"Rome",_"more":_"of_it"}</call>'
    at = len('<call>w {"at": "Rome",')
    result = await asked(await agreeing(), PARIS, second, ROME, f"second_hold={at} ms=2")
    assert (result["answered_by"], generated(result["usage"]["second_slm"])) == ("llm", at)


async def test_both_are_cut_where_one_call_is_allowed_and_the_names_differ(agreeing: Systems) -> None:
    result = await asked(
        await agreeing(), PARIS, OF_OTHER, ROME, "slm_hold=12 second_hold=12", parallel_tool_calls=False
    )
    assert result["answered_by"] == "llm"
    assert all(0 < generated(result["usage"][role]) <= 12 for role in ("slm", "second_slm"))


async def test_where_both_call_nothing_the_first_ones_text_is_served(agreeing: Systems) -> None:
    result = await asked(await agreeing(), NOBODY, "Sun.")
    assert (result["answer"], result["tool_calls"], result["answered_by"]) == ("It is sunny.", [], "slm")
    cut = await asked(await agreeing(), NOBODY, PARIS + "and_so_on", ROME, "second_hold=12 ms=2")
    assert cut["answered_by"] == "llm"
    assert 0 < generated(cut["usage"]["second_slm"]) <= 12


async def test_a_call_that_an_api_gives_as_text_is_not_taken_for_no_call(agreeing: Systems) -> None:
    result = await asked(await agreeing(), 'So:_{"name":_"w"}', 'I_say:_{"name":_"w",_"arguments":_{}}')
    assert (result["answered_by"], result["checks"][0]["verdict"]) == ("llm", "fail")
    assert result["checks"][0]["detail"] == "a call stands in the text, so that none is read"


async def test_a_promise_of_calls_alone_takes_no_text(agreeing: Systems) -> None:
    result = await asked(await agreeing(more="no_call = false"), NOBODY, "Sun.")
    assert (result["answered_by"], result["checks"][0]["detail"]) == ("llm", "none of them calls a tool")


def later(slm: str, second: str, last: str = "") -> list[dict[str, Any]]:
    """A session after a call and its result; its last message is that result, or `last` of the user."""
    [first] = said(slm, second)
    call = {"id": "call_1", "type": "function", "function": {"name": "w", "arguments": '{"at": "Bonn"}'}}
    turns = [first, {"role": "assistant", "content": "", "tool_calls": [call]}]
    turns.append({"role": "tool", "tool_call_id": "call_1", "content": "rain"})
    answered = [{"role": "assistant", "content": "It rains."}, {"role": "user", "content": last}]
    return turns + answered if last else turns


@pytest.mark.parametrize("last", ["", "And in Rome?"], ids=["after a result", "after another question"])
async def test_a_text_in_the_middle_of_a_session_is_taken_only_where_the_profile_allows_it(
    agreeing: Systems, last: str
) -> None:
    offered: dict[str, Any] = {"tools": [WEATHER, OTHER]}
    for more in ("no_call = true", ""):
        result = await ask(await agreeing(more=more), later(NOBODY, "Sun.", last), **offered)
        assert (result["answered_by"], called(result)) == ("llm", [("w", {"at": "Rome"})])
        assert result["checks"][0]["detail"] == "none of them calls a tool in the middle of a session"
    calls = await ask(await agreeing(), later(PARIS, PARIS, last), **offered)
    assert (calls["answered_by"], called(calls)) == ("slm", [("w", {"at": "Paris"})])
    allowing = await agreeing(more="no_call_later = true")
    allowed = await ask(allowing, later(NOBODY, "Sun.", last), **offered)
    assert (allowed["answered_by"], allowed["answer"]) == ("slm", "It is sunny.")


async def test_final_answers_are_compared_by_their_values(agreeing: Systems) -> None:
    alike = await asked(await agreeing(), "18", "$18.00", "17", has_tools=False, task="answer")
    assert (alike["answer"], alike["answered_by"], alike["stop"]["reason"]) == ("18", "slm", "verified")
    apart = await asked(await agreeing(), "18", "19", "17", has_tools=False, task="answer")
    assert (apart["answer"], apart["answered_by"]) == ("17", "llm")


async def test_an_option_is_compared_by_its_letter_and_is_no_final_answer_of_another_promise(agreeing: Systems) -> None:
    listed = "]\nA) Paris\nB) Rome\n["
    both = await agreeing()
    alike = await asked(both, "B)_Rome", "(b)", "A", listed, has_tools=False, task="answer")
    assert (alike["answer"], alike["answered_by"]) == ("B) Rome", "slm")
    apart = await asked(both, "B", "A", "A", listed, has_tools=False, task="answer")
    assert (apart["answer"], apart["answered_by"]) == ("A", "llm")
    of_answers = await agreeing(kinds='kinds = ["answer"]')
    left = await asked(of_answers, "B", "B", "A", listed, has_tools=False, task="answer")
    assert (left["answer"], left["answered_by"]) == ("A", "llm")


async def test_two_of_three_agree_and_the_third_is_cut(agreeing: Systems) -> None:
    system = await agreeing("two of three")
    third = f"third={OF_OTHER} third_eos=40 third_hold=30 ms=1"
    result = await asked(system, PARIS, PARIS, ROME, third)
    assert result["answered_by"] == "slm"
    assert generated(result["usage"]["third_slm"]) <= 30
    outvoted = await asked(system, OF_OTHER, ROME, "no", f"third={ROME} third_eos={len(ROME) + 1}")
    assert (called(outvoted), outvoted["answered_by"]) == ([("w", {"at": "Rome"})], "second_slm")


async def test_a_ladder_asks_the_third_only_where_the_first_two_differ(agreeing: Systems) -> None:
    system = await agreeing("ladder")
    third = f"third={ROME} third_eos={len(ROME) + 1}"
    result = await asked(system, PARIS, PARIS, OF_OTHER, third)
    assert (called(result), generated(result["usage"]["third_slm"])) == ([("w", {"at": "Paris"})], 0)
    assert [each["role"] for each in result["trials"]] == ["slm", "second_slm"]
    assert result["checks"][0]["detail"] == "the small model and the second small model agree"
    decided = await asked(system, PARIS, ROME, OF_OTHER, third)
    assert (called(decided), decided["answered_by"]) == ([("w", {"at": "Rome"})], "second_slm")
    assert [each["role"] for each in decided["trials"]] == ["slm", "second_slm", "third_slm"]
    failing = await asked(system, PARIS, ROME, OF_OTHER, f"fail=second {third}")
    assert failing["answered_by"] == "llm"


async def test_all_of_three_must_say_the_same(agreeing: Systems) -> None:
    system, third = await agreeing("all of three"), f"third_eos={len(PARIS) + 1}"
    assert (await asked(system, PARIS, PARIS, ROME, f"third={PARIS} {third}"))["answered_by"] == "slm"
    assert (await asked(system, PARIS, PARIS, ROME, f"third={ROME} {third}"))["answered_by"] == "llm"


async def test_calls_are_not_taken_where_only_answers_without_one_are(agreeing: Systems) -> None:
    system = await agreeing(more="calls = false")
    assert (await asked(system, PARIS, PARIS, ROME))["answered_by"] == "llm"
    assert (await asked(system, NOBODY, NOBODY, ROME))["answered_by"] == "slm"


async def test_overlapped_the_large_model_writes_meanwhile_and_is_stopped_where_they_agree(agreeing: Systems) -> None:
    system = await agreeing("both", "overlapped = true")
    result = await asked(system, PARIS, PARIS, ROME, "llm_hold=9")
    assert (result["answered_by"], generated(result["usage"]["llm"])) == ("slm", 9)
    first = await asked(system, PARIS, PARIS, ROME, "second_hold=9")  # the large one has answered: nobody waits
    assert (first["answered_by"], generated(first["usage"]["second_slm"])) == ("llm", 9)


async def test_a_small_endpoint_that_is_down_leaves_the_answer_to_the_large_model(agreeing: Systems) -> None:
    failing = await asked(await agreeing(), PARIS, PARIS, ROME, "fail=second")
    assert (called(failing), failing["answered_by"]) == ([("w", {"at": "Rome"})], "llm")
    assert any("second small model did not answer" in note for note in failing["notes"])
    away = await asked(await agreeing(second_is_away=True), PARIS, PARIS)
    assert (away["answered_by"], away["checks"][0]["verdict"]) == ("llm", "unknown")
    assert any("second small model did not answer" in note for note in away["notes"])


async def test_where_they_disagree_and_the_large_model_fails_so_does_the_request_unless_the_profile_says_else(
    agreeing: Systems, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = await agreeing()
    with pytest.raises(RequestError) as caught:
        await asked(system, PARIS, OF_OTHER, ROME, "fail=llm")
    assert caught.value.reason == "LLM_UNAVAILABLE"
    changed(system, monkeypatch, when_unavailable="small")
    result = await asked(system, PARIS, OF_OTHER, ROME, "fail=llm")
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Paris"})], "slm")


async def test_a_call_that_fails_the_callers_check_is_not_served_whoever_agrees(agreeing: Systems) -> None:
    result = await asked(await agreeing(), PARIS, PARIS, checks=["call:w/at:choice:Rome"])
    assert (called(result), result["answered_by"]) == ([("w", {"at": "Rome"})], "llm")


async def test_a_call_that_was_made_before_is_not_taken(agreeing: Systems) -> None:
    call = {"id": "a", "type": "function", "function": {"name": "w", "arguments": '{"at": "Paris"}'}}
    turns: list[dict[str, Any]] = [{"role": "assistant", "content": "", "tool_calls": [call]}]
    turns.append({"role": "tool", "tool_call_id": "a", "content": "rain"})
    result = await ask(await agreeing(), said(PARIS, PARIS) + turns, tools=[WEATHER])
    assert (result["answered_by"], result["checks"][0]["detail"]) == ("llm", "it makes the same call again")


async def test_readers_hear_of_the_agreement_and_spans_have_each_models_tokens(agreeing: Systems) -> None:
    system = await agreeing()
    events = [event async for event in system.client.solve(said(PARIS, PARIS), tools=[WEATHER])]
    [checked] = [event for event in events if isinstance(event, Checked)]
    assert (checked.name, checked.verdict, checked.role) == ("agreement", "pass", "slm")
    result = to_dict(events[-1].result)  # type: ignore[union-attr]
    found = [
        s.attributes or {}
        for s in SPANS.get_finished_spans()
        if format(s.context.trace_id, "032x") == result["trace_id"]
    ]
    tokens = {
        each["tandem.role"]: each["gen_ai.usage.output_tokens"]
        for each in found
        if "gen_ai.usage.output_tokens" in each
    }
    assert {role: tokens[role] for role in ("slm", "second_slm")} == {
        role: generated(result["usage"][role]) for role in ("slm", "second_slm")
    }


async def test_a_cancel_stops_both_at_once_and_bills_them_exactly(agreeing: Systems) -> None:
    system, request_id = await agreeing(), uuid4().hex
    before = counted(system)

    async def solve() -> None:
        with suppress(RequestError):
            script = said(PARIS, PARIS, more="slm_hold=5 second_hold=7")
            await system.client.ask(script, tools=[WEATHER], request_id=request_id, keep_running=True)

    solving = asyncio.create_task(solve())
    async with asyncio.timeout(BOUND_SECONDS):
        while since(before, system)["slm"][1] < 5 or since(before, system)["second_slm"][1] < 7:
            await asyncio.sleep(0.01)
        began = time.monotonic()
        await system.client.cancel(request_id)
        await idle(system)
        assert time.monotonic() - began < 20
        while not (found := await system.client.get(request_id)).HasField("result"):
            await asyncio.sleep(0.02)
    await solving
    result = to_dict(found.result)
    assert (result["stop"]["reason"], billed(result["usage"])) == ("cancelled", since(before, system))
    await system.client.delete(request_id)
    assert not await system.log._connection.redis.keys(f"{{{beside_id(request_id, 'second_slm')}}}:*")


async def test_agents_turns_are_served_so_through_openais_api(agreeing: Systems) -> None:
    body = {"model": "scripted-together-both", "messages": said(PARIS, PARIS), "tools": [WEATHER]}
    async with serving((await agreeing()).client.address) as http:
        plain = (await http.post("/v1/chat/completions", json=body)).json()
    assert "choices" in plain, plain
    [choice] = plain["choices"]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "w"
    assert choice["finish_reason"] == "tool_calls"


async def test_a_batch_takes_what_both_say_and_costs_what_they_wrote(
    agreeing: Systems, tmp_path_factory: pytest.TempPathFactory
) -> None:
    system = await agreeing(files=str(tmp_path_factory.mktemp("files")))
    before = counted(system)

    def line(name: str, *script: str) -> dict[str, Any]:
        body = {"model": "", "messages": said(*script), "tools": [WEATHER, OTHER]}
        return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}

    lines = [line("alike", PARIS, PARIS), line("apart", PARIS, OF_OTHER), line("none", NOBODY, "Sun.")]
    batch = await run(system, [*lines, {"id": "18", "question": said("18", "$18.00")[0]["content"], "task": "answer"}])
    answers = await read(system, batch.output_file_id)
    bodies = [each["response"]["body"]["tandem"] for each in answers[:3]] + answers[3:]
    assert [generated(each["usage"]["llm"]) > 0 for each in bodies] == [False, True, False, False]
    assert [each["stop"]["reason"] == "verified" for each in bodies] == [True, False, True, True]
    assert batch.usd == pytest.approx(sum(each["cost"]["usd"] for each in bodies))
    totals = Counter[tuple[str, int]]()
    for each in bodies:
        totals.update(
            {(role, at): count for role, pair in billed(each["usage"]).items() for at, count in enumerate(pair)}
        )
    assert totals == Counter(
        {(role, at): n for role, pair in since(before, system).items() for at, n in enumerate(pair)}
    )
