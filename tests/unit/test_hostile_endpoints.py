"""What an endpoint may send, whatever it is: the engine answers or refuses with a reason, believes no count that cannot
be, and others go on. TANDEM_HOSTILE_REPLIES says how many of each protocol and family (`make fuzz`); the same ones in
every run.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from services.models.engine.api import Finished
from services.models.engine.remote.anthropic_writer import AnthropicWriter
from services.models.engine.remote.api_writer import ApiSettings, ApiWriter
from services.models.engine.remote.openai_writer import OpenAIWriter
from services.models.engine.remote.responses_writer import ResponsesWriter
from services.models.engine.writer import Writing
from services.shared.process.status import from_engine, to_status
from tandem.endpoints.address import Address, AddressError
from tandem.endpoints.probe import probe
from tandem.endpoints.profile import Role, parse_prices, write_profile
from tandem.endpoints.requests import EndpointError
from tandem.method.profile.endpoint import Api, Capabilities
from tandem.method.profile.profile import load_profile
from tandem.method.tools import Tool, ToolUse
from tests import able_api
from tests.conversations import conversation
from tests.hostile_api import FAMILIES, Case, Protocol, case, http
from tests.recorded_api import Answer, RecordedApi, openai_chunks, openai_usage, recorded_api

EACH = int(os.environ.get("TANDEM_HOSTILE_REPLIES", "8"))  # 144 in all
SEED = int(os.environ.get("TANDEM_HOSTILE_SEED", "20261201"))
CAP, AT_ONCE, FAILURES_TO_OPEN = 256, 8, 5
_WAIT = 5.0 if "TANDEM_HOSTILE_REPLIES" in os.environ else 30.0  # a few inputs are sent beside other tests
MOST_WAIT_SECONDS, MOST_GROWTH_KB, MOST_ANSWER_BYTES, MOST_RETRY_SECONDS = _WAIT, 300_000, 1 << 20, 3600 * 1.25
KINDS: dict[Protocol, type[ApiWriter]] = {
    "openai": OpenAIWriter,
    "anthropic": AnthropicWriter,
    "responses": ResponsesWriter,
}
ABLE = {
    "openai": able_api.openai_server,
    "anthropic": able_api.anthropic_server,
    "responses": able_api.responses_server,
}
MODEL = {"id": "m", "type": "model"}


class Hostile:
    """Serves the case that a request's path names, and remembers how often it was asked and with how many bytes."""

    def __init__(self) -> None:
        self.cases: dict[int, Case] = {}
        self.asked: Counter[int] = Counter()
        self.sizes: dict[int, int] = {}

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if "/models" in path:
            return Answer({"data": [MODEL], **MODEL})
        number = int(re.search(r"case (\d+)", json.dumps(body)).group(1))  # type: ignore[union-attr]
        self.asked[number] += 1
        self.sizes[number] = len(json.dumps(body).encode())
        return self.cases[number].answer


@pytest.fixture
def hostile() -> Iterator[tuple[Hostile, RecordedApi]]:
    hostile = Hostile()
    with recorded_api(hostile.answer) as api:
        yield hostile, api


@pytest.fixture
def elsewhere() -> Iterator[list[str]]:
    """The address of another origin, and the paths that it was asked for."""
    asked: list[str] = []

    def answer(path: str, _: dict[str, Any]) -> Answer:
        asked.append(path)
        return Answer({})

    with recorded_api(answer) as api:
        asked.append(api.url)
        yield asked


async def engine_of(protocol: Protocol, api: RecordedApi, number: int) -> ApiWriter:
    url = api.url if protocol == "anthropic" else f"{api.url}/v1"
    can = Capabilities(tools=True, usage=("at_end", "timings")[number % 2])
    engine = KINDS[protocol](ApiSettings("m", url, "a-key", can=can, timeout_seconds=2.0))
    await asyncio.to_thread(engine.start)
    return engine


def request(number: int) -> Writing:
    tools = ToolUse((Tool("clock"),))
    return Writing(f"r{number}", conversation(("user", f"case {number}")), CAP, tools=tools, may_call=True)


async def faults(engine: ApiWriter, number: int, one: Case, sent: Any) -> list[str]:
    """What is wrong with how the engine takes the case."""
    size, tokens, found = 0, 0, list[str]()
    outcome: Finished | Exception | None = None
    try:
        async for item in engine.write(request(number)):
            if isinstance(item, Finished):
                outcome = item
            else:
                tokens += 1
                size += len(item.text.encode())
                str(item.id)  # as the request log writes it
    except Exception as error:
        outcome = error
    if isinstance(outcome, Finished):
        usage, size = outcome.usage, size + len(outcome.text.encode())
        found += ["tokens are not counted"] * (tokens != usage.completion)
        read = usage.read
    else:
        read = getattr(outcome, "prompt_tokens", 0) or 0
        known = from_engine(outcome) if outcome else None
        wait = getattr(known, "retry_after_s", 0) or 0
        found += [f"INTERNAL: {outcome!r}"] * (known is None)
        found += [f"a wait of {wait}"] * (not 0 <= wait <= MOST_RETRY_SECONDS)
        with suppress(AttributeError):
            to_status(known)  # type: ignore[arg-type]
        found += [f"an honest one is refused: {outcome!r}"] * one.is_honest
    found += [f"a prompt of {read}"] * (not 0 <= read <= sent.sizes.get(number, 0) + 512)
    found += [f"{tokens} tokens"] * (tokens > CAP)
    found += [f"{size} bytes"] * (size > MOST_ANSWER_BYTES)
    found += [f"asked {sent.asked[number]} times"] * (sent.asked[number] > 2)
    SEEN[type(outcome).__name__] += 1
    bound = sent.sizes.get(number, 0) + 512 + 4 * CAP  # as prices are: a token written costs four that are read
    BILLS.append((read + 4 * tokens) / bound)
    return [f"{one.name}: {fault}" for fault in found]


SEEN: Counter[str] = Counter()
BILLS: list[float] = []
WAITED: list[float] = []


async def bystander(stop: asyncio.Event) -> float:
    """The longest that the others keep the event loop from one whose endpoint is honest, in seconds of its thread: by
    the clock the load of the machine would be in it.
    """
    longest = 0.0
    with recorded_api(
        lambda path, _: Answer({"data": [MODEL]} if "/models" in path else {}, HONEST * ("/models" not in path))
    ) as api:
        engine, number = await engine_of("openai", api, 0), 0
        while not stop.is_set():
            began, number = time.thread_time(), number + 1
            ends = [item async for item in engine.write(request(number)) if isinstance(item, Finished)]
            assert len(ends) == 1
            longest = max(longest, time.thread_time() - began)
            await asyncio.sleep(0.01)
        engine.stop()
    return longest


HONEST = openai_chunks(["It ", "is."], openai_usage(20, 2))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", FAMILIES)
async def test_whatever_an_endpoint_sends_is_answered_or_refused_within_its_bounds(
    family: str, hostile: tuple[Hostile, RecordedApi], elsewhere: list[str]
) -> None:
    sent, api = hostile
    stop, grown = asyncio.Event(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    beside = asyncio.create_task(bystander(stop))
    found: list[str] = []
    queue = [(protocol, at) for protocol in KINDS for at in range(0, EACH, FAILURES_TO_OPEN - 1)]

    async def work() -> None:
        while queue:
            protocol, first = queue.pop()
            engine = await engine_of(protocol, api, first)
            for at in range(first, min(first + FAILURES_TO_OPEN - 1, EACH)):
                number = at + EACH * [*KINDS].index(protocol)
                if family == "limits":  # one of which stops those after it
                    engine.stop()
                    engine = await engine_of(protocol, api, at)
                sent.cases[number] = case(family, SEED, at, protocol, elsewhere[0])
                found.extend(await faults(engine, number, sent.cases[number], sent))
                del sent.cases[number]  # some are megabytes
            engine.stop()

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    stop.set()
    WAITED.append(await beside)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
    print(
        f"\n{family}: {dict(SEEN)}, bill at most {max(BILLS):.3f} of its bound, a bystander {max(WAITED):.2f} s, "
        f"{grown} KB"
    )
    assert found == []
    assert elsewhere[1:] == []
    assert WAITED[-1] < MOST_WAIT_SECONDS
    assert grown < MOST_GROWTH_KB


@pytest.mark.parametrize("protocol", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_probe_of_whatever_it_is_ends_with_a_profile_that_loads_or_a_reason(
    family: str, protocol: Protocol, elsewhere: list[str], tmp_path: Path
) -> None:
    """The hostile reply is one of those that a probe asks for; the others are honest, or all are hostile."""
    replies = ABLE[protocol](able_api.EVERYTHING)
    for number in range(max(1, EACH // 4)):
        left = [number % 12] if number % 2 else range(100)
        count = itertools.count()

        def answer(
            path: str, body: dict[str, Any], left: Any = left, count: Any = count, number: int = number
        ) -> Answer:
            if next(count) in left:
                return case(family, SEED, number, protocol, elsewhere[0]).answer
            return replies(path, body)

        with recorded_api(answer) as api:
            url = api.url if protocol == "anthropic" else f"{api.url}/v1"
            with suppress(EndpointError):
                found = probe(Api(protocol=protocol, url=url, model="m"), 2.0, loading_seconds=0)
                address = Address("m", Api(protocol=protocol, url=url, model="m"))
                write_profile(tmp_path, "mine", Role(address, found), Role(address, found))
                load_profile("mine", (tmp_path,))
    assert elsewhere[1:] == []


LISTED: dict[str, Any] = {
    "prices": {"pricing": {"prompt": "-1", "completion": "-1"}},
    "no numbers": {"pricing": {"prompt": "much", "completion": None}},
    "endless": {"pricing": {"prompt": "1e999", "completion": "nan"}},
    "lengths": {
        "max_model_len": 1,
        "context_length": -5,
        "max_input_tokens": 10**40,
        "meta": {"n_ctx": "8k", "n_params": 10**400},
        "max_tokens": -1,
        "max_completion_tokens": 10**40,
    },
    "shapes": {"pricing": [], "meta": [], "max_model_len": True, "max_tokens": [], "top_provider": "x"},
}


@pytest.mark.parametrize("listed", LISTED.values(), ids=LISTED)
def test_what_an_endpoint_lists_and_cannot_be_is_unknown(listed: dict[str, Any], tmp_path: Path) -> None:
    able = able_api.openai_server(able_api.EVERYTHING)

    def answer(path: str, body: dict[str, Any]) -> Answer:
        return Answer({"data": [{"id": "m", **listed}]}) if path.endswith("/models") else able(path, body)

    with recorded_api(answer) as api:
        address = Address("m", Api(url=f"{api.url}/v1", model="m"))
        found = probe(address.api)  # type: ignore[arg-type]
    assert (found.usd, found.context_length, found.output_tokens) == (None, None, None)
    write_profile(tmp_path, "mine", Role(address, found), Role(address, found))
    assert load_profile("mine", (tmp_path,)).prices.unknown


@pytest.mark.parametrize("status", [301, 307])
def test_a_probe_follows_no_redirect_and_says_where_it_leads(status: int, elsewhere: list[str]) -> None:
    leading = http(b"", status=status, location=f"{elsewhere[0]}/v1/models")
    with (
        recorded_api(lambda path, body: leading) as api,
        pytest.raises(EndpointError, match=f"redirects to {elsewhere[0]}"),
    ):
        probe(Api(url=f"{api.url}/v1", model="m"))
    assert elsewhere[1:] == []


@pytest.mark.parametrize("price", ["-1/2", "nan/1", "1/inf", "1e999/1", "1"])
def test_a_price_that_is_none_is_refused(price: str) -> None:
    with pytest.raises(AddressError, match="is no price"):
        parse_prices(price)
