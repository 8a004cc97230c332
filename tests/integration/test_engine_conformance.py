"""What every back end promises (services.models.engine.api), the same claims for each: our transformers engine (on a
GPU too, where there is one, and compiled), vLLM where it is installed, and the openai engine against a real
OpenAI-compatible server (`transformers serve`), all on the same small real checkpoint.
"""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from services.models.engine.api import (
    CacheUse,
    DuplicateRequest,
    EngineError,
    EngineLoad,
    EngineStopped,
    Finished,
    FinishReason,
    QueueFull,
    RunningModel,
    Token,
)
from services.models.engine.remote.openai_writer import ApiSettings, OpenAIWriter
from services.models.engine.token_writer import writer_of
from services.models.engine.tokenizer import ChatTokenizer
from services.models.engine.writer import Earlier, Writing
from tandem.local.ports import free_port
from tandem.method.tokens import Sampling, TokenCounts
from tests.conversations import conversation
from tests.integration.backends import Backend, run, write, writing
from tests.tiny_model import reference

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]
LONG = 1200
Turns = list[tuple[str, str]]


def expected(checkpoint: Path, question: str, most: int) -> tuple[str, int, int]:
    """Greedy text of transformers' own generate, and the numbers of tokens of prompt and text."""
    tokenizer = ChatTokenizer.load(checkpoint)
    ids = tokenizer.encode(tokenizer.render_chat([("user", question)]))
    completion = reference(checkpoint, tuple(ids), most)
    return tokenizer.decode(completion), len(ids), len(completion)


def letters(text: str) -> str:
    """A random byte model seldom generates valid UTF-8, and back ends differ in how they show that."""
    return "".join(c for c in text if c.isascii())


async def test_greedy_text_is_that_of_generate_alone_and_in_a_batch(backend: Backend) -> None:
    questions = ["why?", "what is it?", "how many?"]
    with backend.running() as engine:
        done = await asyncio.gather(*(run(engine, writing(q, q, 24)) for q in questions))
    for question, (text, tokens, end) in zip(questions, done, strict=True):
        whole, num_prompt, num_completion = expected(backend.checkpoint, question, 24)
        assert letters(whole).startswith(letters(text))  # a server may withhold an incomplete last character
        assert len(letters(text)) >= len(letters(whole)) - 2
        assert (end.usage.prompt + end.usage.cached, end.usage.completion) == (num_prompt, num_completion)
        assert (tokens, end.usage.is_estimated) == (num_completion, False)
        assert end.reason is FinishReason.LENGTH


def samplings(count: int) -> list[Sampling]:
    """Whatever a caller of the engine may ask for: the ends of each range, and draws from far beyond what is
    sensible.
    """
    dice = random.Random(0)
    temperatures = [0.0, 5e-324, 1e-45, 1e-38, 1e-7, 0.01, 2.0, *(10 ** dice.uniform(-40, 0.3) for _ in range(count))]
    return [
        Sampling(temperature, dice.choice([1.0, 0.5, 1e-9, 1e-320, dice.random()]), dice.choice([0, 2**63, 2**64 - 1]))
        for temperature in temperatures
    ]


async def test_no_sampling_arguments_end_another_request(backend: Backend) -> None:
    work = samplings(25)
    with backend.running(max_batch=8, max_waiting=2 * len(work)) as engine:
        alone = await run(engine, writing("alone", "why?", 40))
        beside, *sampled = await asyncio.gather(
            run(engine, writing("beside", "why?", 40)),
            *(run(engine, writing(f"s{i}", f"{i}?", 4, sampling)) for i, sampling in enumerate(work)),
            return_exceptions=True,
        )
        assert engine.is_alive
    assert isinstance(beside, tuple)
    assert beside[:2] == alone[:2]
    for done in sampled:  # an API may refuse arguments, which ends that request alone
        assert isinstance(done, EngineError) if isinstance(done, BaseException) else done[1] > 0
        assert backend.port or not isinstance(done, BaseException)


async def test_a_stop_string_ends_the_text_and_the_generation(backend: Backend) -> None:
    with backend.running() as engine:
        work = writing("plain", "go on", 60)
        pieces = [item.text async for item in write(engine, work)]
        text = "".join(pieces)
        start = next(i for i in range(9, len(text) - 2) if text[i : i + 2].isascii() and text[i : i + 2].isprintable())
        string = text[start : start + 2]
        before = engine.counters.output_tokens
        cut, tokens, end = await run(engine, replace(work, id="cut", stop_strings=("~never~", string)))
        computed = engine.counters.output_tokens - before
        goes_on = await run(engine, replace(work, id="on", stop_strings=(text[-3:] + "~",)))
    assert (cut, end.reason) == (text[: text.find(string)], FinishReason.EOS)
    assert goes_on[0] == text
    if backend.is_exact:
        needed = next(n for n in range(len(pieces) + 1) if string in "".join(pieces[:n]))
        assert (tokens, end.usage.completion, computed, end.usage.is_estimated) == (needed, needed, needed, False)


async def test_a_text_goes_on_within_a_stop_string(backend: Backend) -> None:
    with backend.running() as engine:
        work = writing("plain", "go on", 60)
        text, _, _ = await run(engine, work)
        first = next(i for i, letter in enumerate(text) if letter.isascii() and letter.isprintable())
        string = "EN" + text[: first + 1]
        held = replace(work, id="held", stop_strings=(string,), earlier=Earlier(held="EN"))
        cut, _, end = await run(engine, held)
        other, _, _ = await run(engine, replace(held, id="other", stop_strings=("EN~",)))
    assert (cut, end.reason) == ("", FinishReason.EOS)
    assert other == "EN" + text


async def test_an_abort_while_decoding_counts_every_token(backend: Backend) -> None:
    with backend.running() as engine:
        stream = write(engine, writing("decode", "go on", LONG))
        items = [await anext(stream) for _ in range(5)]
        assert engine.abort("decode")
        items += [item async for item in stream]
        *tokens, end = items
        assert all(isinstance(item, Token) for item in tokens)
        assert isinstance(end, Finished)
        assert end.reason is FinishReason.ABORTED
        assert end.usage.completion == len(tokens) < LONG
        assert end.usage.is_estimated is not backend.is_exact
        assert not engine.abort("decode")


async def test_an_abort_before_the_first_token(backend: Backend) -> None:
    with backend.running() as engine:
        stream = write(engine, writing("prefill", "x" * 900, 900))
        first = asyncio.ensure_future(anext(stream))
        while not engine.abort("prefill"):
            await asyncio.sleep(0)
        item = await first
        assert isinstance(item, Finished)
        assert (item.reason, item.usage.completion) == (FinishReason.ABORTED, 0)


async def test_an_abort_in_the_queue_costs_nothing(backend: Backend) -> None:
    with backend.running(max_batch=1) as engine:
        running = write(engine, writing("running", "a", LONG))
        await anext(running)
        waiting = asyncio.ensure_future(run(engine, writing("waiting", "b", 10)))
        while not engine.abort("waiting"):
            await asyncio.sleep(0)
        _, tokens, end = await waiting
        assert (tokens, end.reason, end.usage.prompt, end.usage.completion) == (0, FinishReason.ABORTED, 0, 0)
        await running.aclose()


async def test_prefill_ahead_changes_only_what_is_computed(backend: Backend) -> None:
    with backend.running() as engine:
        question = "so far, so good? " * 20
        plain = await run(engine, writing("plain", question, 12))
        text, tokens, ahead = await run(engine, writing("ahead", question, 0))
        assert (text, tokens, ahead.usage.completion, ahead.reason) == ("", 0, 0, FinishReason.LENGTH)
        after = await run(engine, writing("after", question, 12))
    assert after[:2] == plain[:2]
    usage, plain_usage = after[2].usage, plain[2].usage
    assert usage.prompt + usage.cached == plain_usage.prompt + plain_usage.cached


async def test_a_prompt_that_another_owners_request_began_with_counts_nothing_as_cached(backend: Backend) -> None:
    if backend.port:
        pytest.skip("an API has one cache for all that its key asks")
    with backend.running() as engine:
        ahead = replace(writing("ahead", "who knows of this? " * 12, 0), cache=CacheUse("own"))
        await run(engine, ahead)
        running = write(engine, replace(ahead, id="running", max_tokens=LONG))
        await anext(running)
        works = [replace(ahead, id=f"{o}s", max_tokens=12, cache=CacheUse(o)) for o in ("another", "", "own")]
        usages = [(await run(engine, work))[2].usage for work in works]
        await running.aclose()
        num_tokens = writer_of(engine).num_tokens(ahead.conversation)
    assert [usage.prompt + usage.cached for usage in usages] == [num_tokens] * 3
    assert [usage.cached for usage in usages[:2]] == [0, 0]
    assert usages[2].cached >= (num_tokens - 1 if backend.is_exact else 1)


async def test_the_next_turn_of_a_conversation_reads_only_what_is_new(backend: Backend) -> None:
    question = "so far, so good? " * 8

    async def turn(engine: RunningModel, name: str, said: Turns, owner: str) -> tuple[str, TokenCounts, int]:
        asked = conversation(*said)
        text, _, end = await run(engine, Writing(name, asked, 12, cache=CacheUse(owner, bool(owner))))
        return text, end.usage, writer_of(engine).num_tokens(asked)

    with backend.running() as engine:
        answer, _, read = await turn(engine, "first", [("user", question)], "own")
        said = [("user", question), ("assistant", letters(answer)), ("user", "and then?")]
        plain, _, whole = await turn(engine, "plain", said, "")
        other, others, _ = await turn(engine, "other", said, "another's")
        own, usage, _ = await turn(engine, "own", said, "own")
    assert own == other == plain
    if backend.keeps_conversations:
        assert (others.prompt, others.cached) == (whole, 0)
        assert usage.cached >= read
        assert usage.prompt + usage.cached == whole


async def test_closing_the_stream_early_aborts(backend: Backend) -> None:
    with backend.running() as engine:
        stream = write(engine, writing("closed", "a", LONG))
        await anext(stream)
        await stream.aclose()
        _, tokens, _ = await run(engine, writing("after", "a", 4))
        assert tokens == 4
        assert not engine.abort("closed")


async def test_closing_a_finished_stream_does_not_abort_the_next_request_of_its_id(backend: Backend) -> None:
    with backend.running() as engine:
        first = write(engine, writing("again", "a", 3))
        while not isinstance(await anext(first), Finished):
            pass
        second = write(engine, writing("again", "a", 4))
        items = [await anext(second)]
        await first.aclose()
        items += [item async for item in second]
    assert (sum(isinstance(item, Token) for item in items), items[-1].reason) == (4, FinishReason.LENGTH)


def connections(port: int) -> int:
    """The number of connections of this process to a server on this machine."""
    return sum(c.pid == os.getpid() and bool(c.raddr) and c.raddr.port == port for c in psutil.net_connections("tcp"))


async def test_a_hundred_aborts_leak_nothing(backend: Backend) -> None:
    with backend.running() as engine:
        for i in range(100):
            # Short, because `transformers serve` completes a request whose client left before the first token.
            stream = write(engine, writing(f"leak{i}", "a" * (1 + i % 40), 1000 if backend.is_exact else 30))
            if i % 2:
                await anext(stream)
            else:
                task = asyncio.ensure_future(anext(stream))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await stream.aclose()
        _, tokens, _ = await run(engine, writing("last", "a", 4))
        assert tokens == 4
        assert engine.load == EngineLoad(running=0, waiting=0)
        if backend.port:
            assert connections(backend.port) <= 2  # idle ones in the pool of the client
    if backend.port:
        async with asyncio.timeout(10):
            while connections(backend.port):
                await asyncio.sleep(0.05)


async def test_a_full_queue_and_a_second_request_of_one_id_are_refused(backend: Backend) -> None:
    with backend.running(max_batch=1, max_waiting=1, stops=True) as engine:
        running = write(engine, writing("q0", "a", LONG))
        await anext(running)
        with pytest.raises(DuplicateRequest, match="q0"):
            await anext(write(engine, writing("q0", "a", 5)))
        waiting = asyncio.ensure_future(run(engine, writing("q1", "a", 5)))
        await asyncio.sleep(0)
        with pytest.raises(QueueFull):
            await anext(write(engine, writing("q2", "a", 5)))
        await running.aclose()
        assert (await waiting)[1] == 5
    with pytest.raises(EngineStopped):
        await anext(write(engine, writing("late", "a", 5)))


async def test_stopping_ends_every_stream(backend: Backend) -> None:
    with backend.running(stops=True) as engine:
        stream = write(engine, writing("stopped", "a", LONG))
        await anext(stream)
    last = [item async for item in stream][-1]
    assert isinstance(last, Finished)
    assert last.reason is FinishReason.ABORTED


async def test_a_missing_model_is_named_in_the_error(backend: Backend, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        backend.make(tmp_path / "nothing", 4, 16).start()


async def test_an_unreachable_api_is_refused_with_what_to_check() -> None:
    with pytest.raises(OSError, match="check its address and key"):
        OpenAIWriter(ApiSettings("any", f"http://127.0.0.1:{free_port()}/v1", "no key")).start()
