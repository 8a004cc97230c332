"""An HTTP server that answers as recorded: conversations in OpenAI's two protocols and Anthropic's, written from the
vendors' public documentation, and faults as no real server can be asked to show them.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Events = list[tuple[str, dict[str, Any]]]


@dataclass
class Answer:
    """`events` are streamed with their names (Anthropic's have one, OpenAI's are ""), else `body` is sent. `closes`:
    the connection ends behind them without the protocol's end. `hangs`: nothing more comes until the server is stopped;
    `is_silent`: not even headers come.
    `raw`: all that is sent, head and body, before the connection ends, `resets` or `stays_open`.
    """

    body: dict[str, Any] = field(default_factory=dict)
    events: Events = field(default_factory=list)
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    closes: bool = False
    hangs: bool = False
    is_silent: bool = False
    raw: Callable[[], Iterator[bytes]] | None = None
    resets: bool = False
    stays_open: bool = False


@dataclass
class RecordedApi:
    """`asked` are the bodies of the requests so far, `headers` theirs, with `peer`, the client's end of the
    connection.
    """

    url: str
    answer: Callable[[str, dict[str, Any]], Answer]
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5 a connection may wait for seconds


@contextlib.contextmanager
def recorded_api(answer: Callable[[str, dict[str, Any]], Answer]) -> Iterator[RecordedApi]:
    """Serves what `answer` says for a path and a request's body."""
    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(api.answer(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            api.asked.append((self.path, body))
            headers = {name.lower(): value for name, value in self.headers.items()}
            api.headers.append({**headers, "peer": str(self.client_address)})
            self._send(api.answer(self.path, body))

        def _send(self, given: Answer) -> None:
            self.close_connection = not given.stays_open
            if given.is_silent:
                stopped.wait(60)
                return
            if given.raw:
                with contextlib.suppress(OSError):
                    for piece in given.raw():
                        self.wfile.write(piece)
                    if given.resets:
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()
                return
            is_stream = bool(given.events) or given.hangs
            self.send_response(given.status)
            for name, value in given.headers.items():
                self.send_header(name, value)
            self.send_header("connection", "close")
            self.send_header("content-type", "text/event-stream" if is_stream else "application/json")
            if not is_stream:
                text = json.dumps(given.body).encode()
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)
                return
            self.end_headers()
            with contextlib.suppress(OSError):
                for name, data in given.events:
                    head = f"event: {name}\n" if name else ""
                    self.wfile.write(f"{head}data: {json.dumps(data)}\n\n".encode())
                    self.wfile.flush()
                if given.hangs:
                    stopped.wait(60)
                elif not given.closes and not given.events[-1][0]:
                    self.wfile.write(b"data: [DONE]\n\n")

    server = _Server(("127.0.0.1", 0), Handler)
    api = RecordedApi(f"http://127.0.0.1:{server.server_port}", answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()


def openai_chunks(
    texts: list[str],
    usage: dict[str, Any] | None,
    *,
    finish: str | None = "stop",
    model: str = "m",
    deltas: Sequence[dict[str, Any]] = (),
) -> Events:
    """A stream of chat.completion.chunk as platform.openai.com/docs/api-reference/chat-streaming has it; `deltas`
    follow the texts.
    """
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> tuple[str, dict[str, Any]]:
        return "", {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "usage": None}

    events = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": text}) for text in texts)]
    events += [chunk(delta) for delta in deltas]
    if finish:
        events.append(chunk({}, finish))
    if usage is not None:
        events.append(("", {**head, "choices": [], "usage": usage}))
    return events


def openai_call(index: int, name: str, pieces: list[str]) -> list[dict[str, Any]]:
    """The deltas of one call, whose arguments come in pieces; the first comes with the name."""
    begun = {
        "index": index,
        "id": f"call_{index}",
        "type": "function",
        "function": {"name": name, "arguments": pieces[0]},
    }
    more = [{"index": index, "function": {"arguments": piece}} for piece in pieces[1:]]
    return [{"tool_calls": [each]} for each in (begun, *more)]


def openai_usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }  # fmt: skip


def responses_events(
    items: list[dict[str, Any]], usage: dict[str, Any], *, ends: str = "completed", pieces: int = 2
) -> Events:
    """A stream of /v1/responses as platform.openai.com/docs/api-reference/responses-streaming has it; text and
    arguments of each item come in `pieces`.
    """
    whole = {"id": "resp_1", "object": "response", "model": "m", "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": whole}]
    for index, item in enumerate(items):
        kind = item["type"]
        given = item["content"][0]["text"] if kind == "message" else item.get("arguments", "")
        size = max(1, -(-len(given) // pieces))
        texts = [given[start : start + size] for start in range(0, len(given), size)]
        name = {"message": "output_text", "function_call": "function_call_arguments"}.get(kind, "")
        emptied = {"message": {"content": []}, "function_call": {"arguments": ""}}.get(kind, {})
        at = {"output_index": index, "item_id": item["id"]}
        events.append({"type": "response.output_item.added", "output_index": index, "item": {**item, **emptied}})
        events += [{"type": f"response.{name}.delta", **at, "delta": text} for text in texts]
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    ended = {**whole, "status": ends, "output": items, "usage": usage}
    events.append({"type": f"response.{ends}", "response": ended})
    return [(event["type"], {**event, "sequence_number": number}) for number, event in enumerate(events)]


def responses_text(text: str, index: int = 0) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": f"msg_{index}", "role": "assistant", "status": "completed", "content": content}


def responses_call(index: int, name: str, arguments: str) -> dict[str, Any]:
    called = {"call_id": f"call_{index}", "name": name, "arguments": arguments}
    return {"type": "function_call", "id": f"fc_{index}", "status": "completed", **called}


def responses_usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt, "output_tokens": completion, "total_tokens": prompt + completion,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens_details": {"reasoning_tokens": reasoning},
    }  # fmt: skip


def anthropic_call(index: int, name: str, pieces: list[str]) -> Events:
    """The events of one block that calls a tool, whose arguments come in pieces."""
    block = {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": {}}
    deltas: list[dict[str, Any]] = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
    events = [{"type": "content_block_start", "content_block": block}]
    events += [{"type": "content_block_delta", "delta": delta} for delta in deltas]
    return [(event["type"], {**event, "index": index}) for event in [*events, {"type": "content_block_stop"}]]


def anthropic_events(
    texts: list[str],
    prompt: int,
    completion: int,
    *,
    cached: int = 0,
    written: int = 0,
    hour: int | None = None,
    stop: str = "end_turn",
    blocks: Events | None = None,
) -> Events:
    """A stream of /v1/messages as docs.claude.com/en/docs/build-with-claude/streaming has it; `blocks` follow that of
    the texts. Of `written` tokens `hour` stay cached for one; the last event repeats the counts, but not this one.
    """
    usage: dict[str, Any] = {
        "input_tokens": prompt,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
        "output_tokens": 1,
    }
    repeated = {} if hour is None else {name: usage[name] for name in usage if name != "output_tokens"}
    if hour is not None:
        usage["cache_creation"] = {"ephemeral_5m_input_tokens": written - hour, "ephemeral_1h_input_tokens": hour}
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    deltas = [
        (
            "content_block_delta",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        )
        for text in texts
    ]
    last = {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": {"output_tokens": completion, **repeated},
    }
    return [
        ("message_start", {"type": "message_start", "message": message}),
        ("content_block_start", block),
        ("ping", {"type": "ping"}),
        *deltas,
        ("content_block_stop", {"type": "content_block_stop", "index": 0}),
        *(blocks or []),
        ("message_delta", last),
        ("message_stop", {"type": "message_stop"}),
    ]
