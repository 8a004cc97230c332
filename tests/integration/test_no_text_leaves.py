"""Logs, spans and metrics hold no text of a request, however it ends."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from opentelemetry.sdk.trace import ReadableSpan
from prometheus_client import generate_latest

from services.shared.observability.text import LOG_FORMAT, TextlessFormatter
from tandem import RequestError
from tandem.client.batches import new_batch
from tests.integration.asking import ask, idle
from tests.integration.conftest import SPANS, System, run_system
from tests.integration.edge import body, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")
PROFILE = "scripted-repairing"


class Watched:
    """What has left the processes since the test began. `word` is in all text of the test's requests."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self.word = f"w{uuid4().hex}"[:13]
        self._caplog, self._capfd = caplog, capfd
        self._had = len(SPANS.get_finished_spans())

    def spans(self) -> list[str]:
        return [_whole(span) for span in SPANS.get_finished_spans()[self._had :]]

    def records(self) -> list[logging.LogRecord]:
        return self._caplog.records

    def leaks(self) -> list[str]:
        printed = self._capfd.readouterr()
        logged = [TextlessFormatter(LOG_FORMAT).format(record) for record in self._caplog.records]
        texts = [*logged, printed.out, printed.err, *self.spans(), generate_latest().decode()]
        return [text for text in texts if self.word in text]


def _whole(span: ReadableSpan) -> str:
    return span.to_json() + json.dumps([dict(link.attributes or {}) for link in span.links], default=str)


@pytest.fixture
def watched(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Watched:
    caplog.set_level(logging.INFO)
    return Watched(caplog, capfd)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def system(
    redis_url: str, temporal_address: str, profiles_folder: Path, checker_address: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[System]:  # fmt: skip
    files = str(tmp_path_factory.mktemp("files"))
    async with run_system(
        PROFILE, profiles_folder, redis_url, temporal_address, checker_address, alias="no-text", files=files
    ) as system:
        yield system


def conversation(word: str) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": f"{word} system"},
        {"role": "user", "content": f"[scores=16:0.9 slm_eos=5] {word}"},
        {"role": "assistant", "content": f"{word} said"},
        {"role": "user", "content": f"{word} again"},
    ]


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("[llm={word} slm={word} scores=16:0.9 slm_eos=20] {word}", {}),
        ("[llm={word} slm={word} slm_eos=20 llm_eos=20] {word}", {"checks": ["choice:{word}"]}),
        ("[llm={word} slm=no slm_eos=3 llm_eos=3] {word}", {"checks": ["choice:{word}x"]}),
        ('def f(x):\n    """{word}\n    >>> f("{word}")\n    1\n    """\n', {"code": True}),
        ("[fail=score slm={word} slm_eos=20] {word}", {}),
    ],
    ids=["answered", "checked", "failed checks", "code", "failing scorer"],
)
async def test_an_answered_request_leaves_no_text(
    system: System, watched: Watched, question: str, options: dict[str, Any]
) -> None:
    filled = {
        name: [text.format(word=watched.word) for text in value] if isinstance(value, list) else value
        for name, value in options.items()
    }
    result = await ask(system, question.replace("{word}", watched.word), **filled)
    assert watched.word in json.dumps(result)
    assert watched.spans()
    assert watched.leaks() == []


async def test_a_conversation_leaves_no_text(system: System, watched: Watched) -> None:
    await ask(system, conversation(watched.word))
    assert watched.leaks() == []


@pytest.mark.parametrize(("role", "options"), [("slm", {"max_llm_tokens": 0}), ("llm", {})])
async def test_a_request_that_no_model_answers_leaves_no_text(
    system: System, watched: Watched, role: str, options: dict[str, Any]
) -> None:
    with pytest.raises(RequestError):
        await ask(system, f"[fail={role}] {watched.word}", **options)
    assert watched.leaks() == []


async def test_a_reader_who_hangs_up_leaves_no_text(system: System, watched: Watched) -> None:
    async for event in system.client.solve(f"[llm={watched.word}] {watched.word}"):
        if event.kind == "insight_delta":
            break
    await idle(system)
    assert watched.leaks() == []


@pytest.mark.parametrize(
    ("question", "options"),
    [
        ("{word}" * 100, {}),
        ("{word}", {"json_schema": json.dumps({"{word}": {"type": "{word}"}, "type": "{word}"})}),
        ("{word}", {"json_schema": '{"type": "string", "pattern": "({word}"}'}),
        ("{word}", {"json_schema": '{"{word}'}),
        ("{word}", {"checks": ["{word}"]}),
        ("{word}", {"checks": ["json_schema:{word}"]}),
        ("{word}", {"task": "{word}"}),
        ("{word}", {"profile": "{word}"}),
        ("{word}", {"threshold": 7.0}),
        ("{word}", {"max_cost_usd": 1e-12}),
        ([{"role": "{word}", "content": "{word}"}], {}),
        ([{"role": "assistant", "content": "{word}"}], {}),
        ([{"role": "user", "content": "{word}"}, {"role": "user", "content": "{word}" * 100}], {}),
    ],
)
async def test_a_refused_request_leaves_no_text(
    system: System, watched: Watched, question: Any, options: dict[str, Any]
) -> None:
    asked, filled = json.loads(json.dumps([question, options]).replace("{word}", watched.word))
    with pytest.raises((RequestError, ValueError)):
        await ask(system, asked, **filled)
    assert watched.leaks() == []


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "{word}", "content": "{word}"}]},
        {"messages": "{word}"},
        {"messages": [{"role": "user", "content": [{"type": "{word}", "text": "{word}"}]}]},
        {"messages": [{"role": "user", "content": "{word}", "name": "{word}"}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "{word}"}}}},
        {"tandem": {"checks": ["{word}"]}},
        {"tandem": {"{word}": 1}},
        {"{word}": "{word}"},
        {"stop": ["{word}"]},
        {"temperature": "{word}"},
        {"model": "{word}"},
    ],
)
async def test_what_the_http_gateway_refuses_leaves_no_text(
    system: System, watched: Watched, more: dict[str, Any]
) -> None:
    filled = json.loads(json.dumps(more).replace("{word}", watched.word))
    async with serving(system.client.address) as http:
        for route in ("/v1/chat/completions", "/v1/responses"):
            reply = await http.post(route, json=body(watched.word) | filled | {"input": watched.word})
            assert 400 <= reply.status_code < 500
        broken = await http.post("/v1/chat/completions", content=f'{{"messages": "{watched.word}'.encode())
        assert broken.status_code == 400
    assert watched.leaks() == []


@pytest.mark.parametrize("route", ["/v1/chat/completions", "/v1/responses"])
async def test_user_and_metadata_leave_no_text(system: System, watched: Watched, route: str) -> None:
    word, [profile] = watched.word, (await system.client.profiles()).profiles
    own = {"user": f"{word}@example.com", "metadata": {"run": f"a {word}", f"{word} too": "1"}}
    script = f"[slm_eos=3 scores=0:0.9] {word}"
    asked = body(script) if route.endswith("completions") else {"input": script}
    async with serving(system.client.address) as http:
        for is_streamed in (False, True):
            reply = await http.post(route, json=asked | own | {"model": profile.name, "stream": is_streamed})
            assert reply.status_code == 200, reply.text
            assert is_streamed or word in reply.text
    assert any(f"POST {route}" in span for span in watched.spans())
    assert watched.leaks() == []


async def test_a_batch_leaves_no_text(system: System, watched: Watched) -> None:
    good = {"id": watched.word, "question": f"[slm={watched.word} scores=0:0.9 slm_eos=20] {watched.word}"}
    for lines in (
        [good],
        [good, {"id": "2", "question": "x", watched.word: 1}],
        [{"question": watched.word, "profile": 1}],
    ):

        async def content(lines: list[dict[str, Any]] = lines) -> AsyncIterator[bytes]:
            for line in lines:
                yield json.dumps(line).encode() + b"\n"

        uploaded = await system.client.batches.upload(f"{watched.word}.jsonl", content())
        try:
            created = await system.client.batches.create(new_batch(uploaded.file_id))
        except RequestError:
            continue
        while not (await system.client.batches.get(created.batch_id)).HasField("ended_at_unix_ms"):
            pass
    assert watched.leaks() == []


async def test_an_error_that_nobody_knows_leaves_no_text(
    system: System, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(prompt: Any) -> None:
        raise RuntimeError(f"cannot read {prompt!r}")

    for engine in (system.llm, system.slm):
        monkeypatch.setattr(engine, "generate", lambda generation: fail(watched.word))
    monkeypatch.setattr(system.judge, "score", lambda key, prompt: fail(watched.word))
    with pytest.raises(RequestError):
        await ask(system, watched.word)
    assert any(record.exc_info for record in watched.records())
    assert watched.leaks() == []
