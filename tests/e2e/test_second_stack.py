"""`tandem up --second`: real processes, one more for the second small model, and a request that it answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tandem import Client, to_dict
from tandem.local.supervisor import Stack
from tandem.paths import REPOSITORY
from tests.e2e.test_local_stack import stack_of
from tests.extras import environment_of
from tests.recorded_api import Answer, openai_chunks, openai_usage, recorded_api

pytestmark = pytest.mark.timeout(600)
LARGE, SMALL, SECOND = "large-70b", "small-7b", "second-8b"
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
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("second")
    variables = {
        **environment_of("local-api"),
        "TANDEM_STATE": str(folder / "state"),
        "TANDEM_MODELS": str(folder / "models"),
        "TANDEM_PROFILES_PATH": f"{folder / 'profiles'}:{REPOSITORY / 'deploy' / 'profiles'}",
        "TANDEM_ENGINE": "auto",
    }
    with recorded_api(reply) as api:
        named = {"--large": LARGE, "--small": SMALL, "--second": SECOND}
        options = [word for option, model in named.items() for word in (option, f"{api.url}/v1#{model}")]
        with stack_of(variables, *options) as found:
            yield found


def test_a_second_endpoint_has_a_process_of_its_own_and_answers_where_the_first_ones_program_fails(
    stack: Stack,
) -> None:
    assert {row.name: row.state for row in stack.status()} == dict.fromkeys(
        [
            "redis",
            "temporal",
            "answer-checker",
            "worker",
            "gateway",
            "http-gateway",
            "model-apis",
            "second-slm-executor",
        ],
        "ready",
    )
    with Client(stack.gateway) as client:
        result = to_dict(client.ask(QUESTION, code=True))
    assert (result["stop"]["reason"], result["answered_by"]) == ("verified", "second_slm")
    assert [(trial["role"], trial["usage"]["model"]) for trial in result["trials"]] == [
        ("slm", SMALL),
        ("second_slm", SECOND),
    ]
    usage = {role: (each["input_tokens"], each["output_tokens"]) for role, each in result["usage"].items()}
    assert usage == {"llm": (0, 0), "slm": (20, 3), "scorer": (0, 0), "second_slm": (20, 4)}
