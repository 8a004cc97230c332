"""Two pairs of endpoints in one stack of real processes; one has a second small model, which answers a request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tandem import Client, to_dict
from tandem.client.spending import Sum, spending
from tandem.local.supervisor import Stack
from tandem.paths import REPOSITORY
from tests.command import tandem
from tests.conftest import wait_until
from tests.e2e.conftest import in_environment
from tests.e2e.test_local_stack import stack_of
from tests.extras import environment_of
from tests.recorded_api import Answer, RecordedApi, openai_chunks, openai_usage, recorded_api

pytestmark = pytest.mark.timeout(600)
LARGE, SMALL, SECOND = "large-70b", "small-7b", "second-8b"
KEYS = {"KEY_ONE": "first-account", "KEY_TWO": "second-account"}
QUESTION = 'def double(x):\n    """Twice x.\n    >>> double(3)\n    6\n    >>> double(5)\n    10\n    """\n'
WRITTEN = {
    LARGE: ["```python\ndef double(x):\n", "    return 2 * x\n", "```"],
    SMALL: ["```python\ndef double(x):\n", "    return x\n", "```"],
    SECOND: ["```python\n", "def double(x):\n", "    return x + x\n", "```"],
}


def reply(path: str, body: dict[str, Any]) -> Answer:
    if path.endswith("/models"):
        return Answer({"object": "list", "data": [{"id": name, "object": "model"} for name in WRITTEN]})
    if not path.endswith("/chat/completions"):
        return Answer({"error": {"message": "no such path"}}, status=404)
    if not body.get("stream"):
        message = {"role": "assistant", "content": "1"}
        return Answer({"choices": [{"index": 0, "message": message}], "usage": openai_usage(10, 1)})
    texts = WRITTEN[body["model"]]
    return Answer(events=openai_chunks(texts, openai_usage(20, len(texts)), model=body["model"]))


@pytest.fixture(scope="module")
def api() -> Iterator[RecordedApi]:
    with recorded_api(reply) as api:
        yield api


@pytest.fixture(scope="module")
def stack(api: RecordedApi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Serves `one`, and `two` with a second small model; each has prices and a key of its own."""
    folder = tmp_path_factory.mktemp("second")
    variables = {
        **environment_of("local-api"),
        "TANDEM_STATE": str(folder / "state"),
        "TANDEM_MODELS": str(folder / "models"),
        "TANDEM_PROFILES_PATH": f"{folder / 'profiles'}:{REPOSITORY / 'deploy' / 'profiles'}",
        "TANDEM_ENGINE": "auto",
        **KEYS,
    }
    large, small, second = (f"{api.url}/v1#{model}" for model in (LARGE, SMALL, SECOND))
    with in_environment(variables):
        for pair, price, more in (("one", "1/2", ()), ("two", "10/20", ("--small", second))):
            keys = ("--large-key", f"KEY_{pair.upper()}", "--small-key", f"KEY_{pair.upper()}")
            made = tandem(
                "profile", "new", "--name", pair, "--large", large, "--small", small, *more, *keys,
                "--large-price", price, "--small-price", price,
            )  # fmt: skip
            assert made.returncode == 0, made.stderr
    with stack_of(variables, "--profile", "one", "--profile", "two") as found:
        yield found


def test_each_pair_has_a_worker_and_models_and_its_second_model_a_process(stack: Stack) -> None:
    shared = ["redis", "temporal", "answer-checker", "gateway", "http-gateway"]
    assert {row.name: row.state for row in stack.status()} == dict.fromkeys(
        [*shared, "worker", "model-apis", "worker@two", "model-apis@two", "second-slm-executor@two"], "ready"
    )


def test_two_pairs_are_listed_and_answer_with_their_own_keys_and_prices(stack: Stack, api: RecordedApi) -> None:
    listed = httpx.get(f"{stack.http}/v1/models", timeout=30).json()["data"]
    assert [model["id"] for model in listed] == ["one", "one/large", "one/slm", "two", "two/large", "two/slm"]
    began = datetime.now(UTC)  # the requests of other tests may end just before
    usd = {}
    for model in ("one", "two", "two/large", "two/slm"):
        api.headers.clear()
        asked = {"model": model, "messages": [{"role": "user", "content": "What is 6 times 7?"}]}
        answered = httpx.post(f"{stack.http}/v1/chat/completions", json=asked, timeout=60).json()["tandem"]
        key = KEYS[f"KEY_{model.partition('/')[0].upper()}"]
        assert [sent["authorization"] for sent in api.headers] == [f"Bearer {key}"]
        assert api.asked[-1][1]["model"] == (SMALL if model.endswith("/slm") else LARGE)
        usd[model] = answered["cost"]["usd"]
    assert usd["two"] == usd["two/large"] == pytest.approx(10 * usd["one"])

    with Client(stack.gateway) as client:

        def sums() -> dict[tuple[str, ...], Sum]:
            return spending(client, began, ["profile"])

        wait_until(lambda: sum(each.requests - each.open for each in sums().values()) == len(usd))
        found = sums()
    assert {pair: each.requests for (pair,), each in found.items()} == {"one": 1, "two": 3}
    assert found["one",].usd == pytest.approx(usd["one"])


def test_a_stack_that_serves_a_pair_is_up_for_it_and_refuses_one_that_it_does_not_serve(stack: Stack) -> None:
    assert tandem("up", "--profile", "two").returncode == 0
    refused = tandem("up", "--profile", "two", "--profile", "three")
    assert refused.returncode != 0
    assert "to start one with profile two and profile three" in " ".join(refused.stderr.split())


def test_a_second_endpoint_answers_where_the_first_ones_program_fails(stack: Stack) -> None:
    with Client(stack.gateway) as client:
        result = to_dict(client.ask(QUESTION, code=True, profile="two"))
    assert (result["stop"]["reason"], result["answered_by"]) == ("verified", "second_slm")
    assert [(trial["role"], trial["usage"]["model"]) for trial in result["trials"]] == [
        ("slm", SMALL),
        ("second_slm", SECOND),
    ]
    usage = {role: (each["input_tokens"], each["output_tokens"]) for role, each in result["usage"].items()}
    assert usage == {"llm": (0, 0), "slm": (20, 3), "scorer": (0, 0), "second_slm": (20, 4)}
