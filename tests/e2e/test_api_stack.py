"""`tandem up` with two endpoints of others, where no engine is installed; and what a request becomes when an endpoint
misbehaves.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import grpc
import pytest

from tandem import Client, Completed
from tandem.errors import RequestError
from tandem.local.supervisor import Stack
from tandem.method.timeouts import Timeouts
from tandem.paths import REPOSITORY
from tandem.v1 import tandem_pb2
from tests.conftest import wait_until
from tests.e2e.test_local_stack import stack_of
from tests.extras import environment_of
from tests.hostile_api import case
from tests.recorded_api import Answer, RecordedApi, openai_chunks, openai_usage, recorded_api
from tests.stacks import kill

pytestmark = pytest.mark.timeout(600)
SEED, EACH = 20261202, 2
LARGE, SMALL = "large-70b", "small-7b"
TEXTS = ["It ", "is ", "42."]
SILENT_SECONDS = 2
MODELS = {"object": "list", "data": [{"id": name, "object": "model"} for name in (LARGE, SMALL)]}
LIMITED = Answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "1"})


def fine(model: str, texts: list[str] = TEXTS) -> Answer:
    return Answer(events=openai_chunks(texts, openai_usage(20, len(texts)), model=model))


class Endpoints:
    """Two models of one server of OpenAI's protocol. `next[model]` are its next streams; with none left each is
    fine.
    """

    def __init__(self) -> None:
        self.next: dict[str, list[Answer]] = defaultdict(list)
        self.asked: list[str] = []

    def answer(self, path: str, body: dict[str, Any]) -> Answer:
        if path.endswith("/models"):
            return Answer(MODELS)
        if not path.endswith("/chat/completions"):
            return Answer({"error": {"message": "no such path"}}, status=404)
        model = body["model"]
        if not body.get("stream"):
            called = {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "add", "arguments": "{}"}}]}
            message = {"role": "assistant", "content": "1", **(called if "tools" in body else {})}
            return Answer({"choices": [{"index": 0, "message": message}], "usage": openai_usage(10, 1)})
        self.asked.append(model)
        return self.next[model].pop(0) if self.next[model] else fine(model)


@pytest.fixture(scope="module")
def endpoints() -> Endpoints:
    return Endpoints()


@pytest.fixture(scope="module")
def api(endpoints: Endpoints) -> Iterator[RecordedApi]:
    with recorded_api(endpoints.answer) as api:
        yield api


@pytest.fixture(scope="module")
def lean() -> dict[str, str]:
    return environment_of("local-api")


@pytest.fixture(scope="module")
def api_stack(api: RecordedApi, lean: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("apis")
    variables = {
        **lean,
        "TANDEM_STATE": str(folder / "state"),
        "TANDEM_MODELS": str(folder / "models"),
        "TANDEM_PROFILES_PATH": f"{folder / 'profiles'}:{REPOSITORY / 'deploy' / 'profiles'}",
        "TANDEM_ENGINE": "auto",
        "TANDEM_ENGINE_ARGS": json.dumps({"timeout_seconds": SILENT_SECONDS}),
    }
    with stack_of(variables, "--large", f"{api.url}/v1#{LARGE}", "--small", f"{api.url}/v1#{SMALL}") as stack:
        yield stack


@pytest.fixture
def client(api_stack: Stack, endpoints: Endpoints) -> Iterator[Client]:
    """Once the large model is reached, so that no failure is counted, whatever the test before it did."""
    endpoints.next.clear()
    with Client(api_stack.gateway) as client:
        wait_until(lambda: is_reached(client), 60)
        endpoints.asked.clear()
        yield client


def is_reached(client: Client) -> bool:
    """Whether the large model is asked: a circuit may be open, and a connection not be back."""
    try:
        return solved(client, "Again?").answered_by == tandem_pb2.ROLE_LLM
    except RequestError:
        return False


def failed(client: Client, question: str) -> tuple[RequestError, tandem_pb2.SolveResult]:
    """What a request ended with, and its bill."""
    request_id = uuid4().hex
    with pytest.raises(RequestError) as caught:
        list(client.solve(question, request_id=request_id))
    assert caught.value.reason == "LLM_UNAVAILABLE"
    return caught.value, client.get(request_id).result


def solved(client: Client, question: str) -> tandem_pb2.SolveResult:
    *_, last = client.solve(question)
    assert isinstance(last, Completed)
    return last.result


def test_the_stack_of_two_apis_runs_where_no_engine_is_installed(
    api_stack: Stack, client: Client, lean: dict[str, str], endpoints: Endpoints
) -> None:
    missing = lean["TANDEM_TESTS_MISSING"].split(",")
    assert {"torch", "transformers", "xllamacpp", "kserve", "numpy", "safetensors"} <= set(missing)
    assert not {"openai", "anthropic", "temporalio", "grpc", "redis"} & set(missing)
    imported = subprocess.run([sys.executable, "-c", "import torch"], capture_output=True, text=True)
    assert "No module named 'torch' here" in imported.stderr
    assert {row.name: row.state for row in api_stack.status()} == dict.fromkeys(
        ["redis", "temporal", "answer-checker", "worker", "gateway", "http-gateway", "model-apis"], "ready"
    )
    result = solved(client, "What is 6 times 7?")
    assert result.answer == "It is 42."
    assert endpoints.asked == [LARGE]
    assert (result.usage.llm.input_tokens, result.usage.llm.output_tokens) == (20, 3)


def test_a_request_waits_for_a_short_pause_of_a_limited_api_and_is_paid_once(
    client: Client, endpoints: Endpoints
) -> None:
    endpoints.next[LARGE] = [LIMITED]
    result = solved(client, "Limited?")
    assert result.answer == "It is 42."
    assert endpoints.asked == [LARGE] * 2
    assert (result.usage.llm.input_tokens, result.usage.llm.output_tokens) == (20, 3)


def test_a_storm_of_limits_is_the_callers_to_wait_out(client: Client, endpoints: Endpoints) -> None:
    endpoints.next[LARGE] = [LIMITED] * 50
    error, result = failed(client, "A storm?")
    assert (error.code, error.metadata["vendor_status"]) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "429")
    assert error.retry_after_s is not None
    assert endpoints.asked.count(LARGE) <= 2
    assert SMALL not in endpoints.asked
    assert result.usage.llm.output_tokens == 0


@pytest.fixture
def open_circuits(api_stack: Stack) -> Iterator[None]:
    """Afterwards the APIs' process is another one, which knows of no pause."""
    yield
    kill(api_stack, "model-apis")


@pytest.mark.usefixtures("open_circuits")
def test_nobody_is_held_for_an_hour_because_an_api_asks_for_that(client: Client, endpoints: Endpoints) -> None:
    hour = Answer({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "3600"})
    endpoints.next[LARGE] = [hour] * 9
    began = time.monotonic()
    first, _ = failed(client, "An hour?")
    second, _ = failed(client, "Still?")
    assert time.monotonic() - began < Timeouts.longest_unattended_pause.total_seconds()
    assert "asks for a pause of 3600 s" in str(first)
    for error in (first, second):
        assert error.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error.retry_after_s is not None
        assert error.retry_after_s > 3500
    assert endpoints.asked == [LARGE]  # the second request asked it no more


def test_an_api_that_hangs_is_asked_again_and_what_it_had_written_is_on_the_bill(
    client: Client, endpoints: Endpoints
) -> None:
    endpoints.next[LARGE] = [Answer(events=openai_chunks(["It ", "is "], None, finish=None), hangs=True)]
    result = solved(client, "Hanging?")
    assert result.answer == "It is 42."
    assert endpoints.asked == [LARGE] * 2
    usage = result.usage.llm
    assert (usage.output_tokens, usage.discarded_tokens) == (3, 2)
    assert usage.is_estimated


@pytest.mark.parametrize("hanging", [Answer(is_silent=True), Answer(hangs=True)], ids=["no headers", "no event"])
def test_an_api_that_hangs_before_its_first_token_may_have_read_the_prompt_and_the_bill_says_so(
    client: Client, endpoints: Endpoints, hanging: Answer
) -> None:
    exact = solved(client, "Hanging at first?").usage.llm
    endpoints.next[LARGE] = [hanging]
    result = solved(client, "Hanging at first?")
    usage = result.usage.llm
    assert result.answer == "It is 42."
    assert usage.input_tokens > exact.input_tokens
    assert (usage.output_tokens, usage.discarded_tokens) == (3, 0)
    assert (exact.is_estimated, usage.is_estimated) == (False, True)
    assert any("large model's token counts are an estimate" in note for note in result.notes)


def test_a_prompt_whose_process_dies_before_the_first_token_is_on_the_bill_as_an_estimate(
    client: Client, endpoints: Endpoints, api_stack: Stack
) -> None:
    exact = solved(client, "Dying at first?").usage.llm
    endpoints.next[LARGE], endpoints.asked[:] = [Answer(is_silent=True)], []
    with ThreadPoolExecutor() as pool:
        solving = pool.submit(solved, client, "Dying at first?")
        wait_until(lambda: endpoints.asked == [LARGE])
        kill(api_stack, "model-apis")
        result = solving.result()
    assert result.answer == "It is 42."
    usage, again = (
        result.usage.llm,
        endpoints.asked.count(LARGE) - 1,
    )  # by the process that took the place, if it was there in time
    assert usage.input_tokens > again * exact.input_tokens
    assert (usage.discarded_tokens, usage.is_estimated) == (0, True)


def test_an_api_that_never_begins_is_left_and_the_prompts_that_it_may_have_read_are_on_the_bill(
    client: Client, endpoints: Endpoints
) -> None:
    endpoints.next[LARGE] = [Answer(is_silent=True)] * 50
    _, result = failed(client, "Never?")
    usage, attempts = result.usage.llm, endpoints.asked.count(LARGE)
    assert attempts == 4
    assert usage.input_tokens > 0
    assert usage.input_tokens % attempts == 0
    assert (usage.output_tokens, usage.discarded_tokens, usage.is_estimated) == (0, 0, True)


def test_the_lost_prompt_of_a_later_turn_counts_as_cached_as_far_as_the_turn_before_had_it(
    client: Client, endpoints: Endpoints
) -> None:
    endpoints.next[LARGE] = [Answer(is_silent=True)] * 50
    said = [("user", "Read. " * 2000), ("assistant", "Read."), ("user", "Go on.")]
    request_id = uuid4().hex
    with pytest.raises(RequestError):
        client.ask([{"role": role, "content": text} for role, text in said], request_id=request_id)
    result = client.get(request_id).result
    usage = result.usage.llm
    last = (usage.input_tokens + usage.cached_input_tokens) / endpoints.asked.count(LARGE)
    assert usage.is_estimated
    assert 0.98 * last < usage.cached_input_tokens < last  # of earlier attempts a span has told all, as computed


def test_an_api_that_always_closes_early_is_left_after_four_attempts(client: Client, endpoints: Endpoints) -> None:
    cut = Answer(events=openai_chunks(["It "], None, finish=None), closes=True)
    endpoints.next[LARGE] = [cut] * 50
    error, result = failed(client, "Closing?")
    assert endpoints.asked == [LARGE] * 4
    assert "failed: the API closed its stream" in str(error)
    assert (result.usage.llm.discarded_tokens, result.usage.llm.is_estimated) == (4, True)


def test_a_usage_that_cannot_be_true_is_an_estimate_on_the_bill(client: Client, endpoints: Endpoints) -> None:
    endpoints.next[LARGE] = [Answer(events=openai_chunks(TEXTS, openai_usage(20, 10**9), model=LARGE))]
    usage = solved(client, "Lying?").usage.llm
    assert usage.is_estimated
    assert usage.output_tokens <= 4096


def test_another_model_behind_the_name_is_in_the_log(client: Client, endpoints: Endpoints, api_stack: Stack) -> None:
    solved(client, "Which?")
    endpoints.next[LARGE] = [fine("large-71b")]
    solved(client, "And now?")
    log = api_stack.log("model-apis")
    wait_until(lambda: f"with 'large-71b' now, no longer with {LARGE!r}" in Path(log).read_text())


def test_a_refused_request_is_asked_once_and_says_why(client: Client, endpoints: Endpoints) -> None:
    endpoints.next[LARGE] = [Answer({"error": {"message": "we do not talk of this"}}, status=400)] * 9
    with pytest.raises(RequestError, match="we do not talk of this") as refused:
        solved(client, "Refused?")
    assert (refused.value.reason, refused.value.metadata["vendor_status"]) == ("PROMPT_REFUSED", "400")
    assert endpoints.asked == [LARGE]


@pytest.mark.usefixtures("open_circuits")
@pytest.mark.parametrize("family", ["counts", "shapes"])  # all of them: tests/unit/test_hostile_endpoints.py
def test_a_hostile_large_model_ends_no_request_as_internal_and_bills_no_more_than_its_cap(
    client: Client,
    endpoints: Endpoints,
    family: str,
) -> None:
    seen: Counter[str] = Counter()
    for number in range(EACH):
        one = case(family, SEED, number, "openai", "http://127.0.0.1:9")
        endpoints.next.clear()
        endpoints.next[LARGE if Random(number).random() < 0.7 else SMALL] = [one.answer] * 50
        began = time.monotonic()
        try:
            *_, last = client.solve(f"Hostile {family} {number}?")
        except RequestError as error:
            seen[error.code.name] += 1
        else:
            assert isinstance(last, Completed)
            usage = last.result.usage.llm
            seen["answered"] += 1
            attempts = 4
            assert usage.output_tokens + usage.discarded_tokens <= attempts * 4096, one.name
            assert usage.input_tokens <= attempts * 2048, one.name
        assert time.monotonic() - began < Timeouts.longest_unattended_pauses.total_seconds(), one.name
    print(family, dict(seen))
    assert not seen.keys() & {"INTERNAL", "UNKNOWN"}
