"""An endpoint that sends anything, over HTTP: sizes, counts, shapes, limits, redirects, cuts. `case` gives the same
reply for the same seed and number; a server of tests.recorded_api sends it.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from tests.recorded_api import (
    Answer,
    Events,
    anthropic_call,
    anthropic_events,
    openai_call,
    openai_chunks,
    openai_usage,
    responses_call,
    responses_events,
    responses_text,
    responses_usage,
)

Protocol = Literal["openai", "anthropic", "responses"]
FLOOD_BYTES = 1 << 28  # that a flooding endpoint would send; whoever reads it has no bound
PACKED = gzip.compress(b"data: " + b"0" * (1 << 24))
COUNTS: list[Any] = [
    -1, 0, 1, 7, 200, 10**6, 10**9, 2**31, 2**63, 2**64, 10**30, -(2**63), 1.5, 1e308, "7", None, True, [], {}
]  # fmt: skip
VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**63,
    10**400,
    1.5,
    "",
    "x",
    "7",
    "\ue003\ue004",
    [],
    {},
    [[]],
    [None],
    {"a": None},
    [1] * 300,
    "y" * 5000,
    "\u0000",
    "\u202e",
    ["a", 1],
    {"type": "error"},
]
WAITS = [
    "0",
    "-1",
    "1",
    "9",
    "3600",
    "36500d",
    "999999999999",
    "9" * 400,
    "nan",
    "inf",
    "-inf",
    "1e308",
    "soon",
    "",
    "²",
    "Wed, 21 Oct 2015 07:28:00 GMT",
    "Wed, 21 Oct 2099 07:28:00 -0000",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "2099-01-01T00:00:00",
    "2099-01-01T00:00:00Z",
    "2099-01-01",
    "9999-12-31T23:59:59-23:59",
    "1m",
    "0ms",
    "6m0s",
    "1.5.2",
]
STATUSES = [
    100,
    204,
    206,
    300,
    304,
    400,
    401,
    402,
    404,
    408,
    409,
    413,
    418,
    422,
    429,
    429,
    451,
    500,
    502,
    503,
    504,
    524,
    529,
    599,
]
BROKEN_HEADS = [
    b"",
    b"\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"HTTP/9.9 200 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"SSH-2.0-x\r\n",
    b"\x00" * 100,
    b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\ndata: x\n\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\nx",
    b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n: y\r\n\r\n",
    b"HTTP/1.1 200 " + b"O" * 9000 + b"\r\n\r\n",
]


@dataclass(frozen=True)
class Case:
    """`is_honest`: it must be answered; else it is answered or refused."""

    name: str
    answer: Answer
    is_honest: bool = False


def case(family: str, seed: int, number: int, protocol: Protocol, elsewhere: str = "") -> Case:
    """`elsewhere`: where redirects lead."""
    random = Random(f"{family} {seed} {number} {protocol}")
    name, answer = FAMILIES[family](random, protocol, elsewhere)
    return Case(f"{family} {seed} {number} {protocol}: {name}", answer, name.startswith("honest"))


def stream(events: Events | list[Any], protocol: Protocol) -> bytes:
    """As server-sent events. An event that is bytes stands as it is."""
    done = b"data: [DONE]\n\n" if protocol == "openai" else b""
    return b"".join(map(_written, events)) + done


def _written(event: Any) -> bytes:
    if isinstance(event, bytes):
        return event
    name, data = event
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


def http(body: bytes | Callable[[], Iterator[bytes]], status: int = 200, **headers: str) -> Answer:
    """A reply that ends with its connection."""
    given = {"content_type": "text/event-stream", "connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
    head = f"HTTP/1.1 {status} S\r\n{lines}\r\n".encode("latin-1", "replace")

    def raw() -> Iterator[bytes]:
        yield head
        yield from [body] if isinstance(body, bytes) else body()

    return Answer(raw=raw)


def honest(random: Random, protocol: Protocol, usage: dict[str, Any] | None = None) -> Events:
    """A short answer, at times with a call."""
    texts = [random.choice(["It ", "is ", "42", ".", " é", "\n"]) for _ in range(random.randint(1, 8))]
    calls = random.random() < 0.3
    if protocol == "openai":
        deltas = openai_call(0, "clock", ["{", "}"]) if calls else []
        return openai_chunks(texts, usage or openai_usage(20, len(texts) + 2 * calls), deltas=deltas)
    if protocol == "responses":
        items = [responses_text("".join(texts)), *([responses_call(1, "clock", "{}")] if calls else [])]
        return responses_events(items, responses_usage(20, len(texts) + 2 * calls), pieces=len(texts))
    blocks = anthropic_call(1, "clock", ["{", "}"]) if calls else []
    return anthropic_events(texts, 20, len(texts) + 2 * calls, blocks=blocks)


def _flood(piece: bytes, before: bytes = b"") -> Callable[[], Iterator[bytes]]:
    block = piece * (1 + 65536 // len(piece))

    def body() -> Iterator[bytes]:
        yield before
        for _ in range(FLOOD_BYTES // len(block)):
            yield block

    return body


def _text_event(protocol: Protocol, text: str) -> bytes:
    if protocol == "responses":
        return _written(responses_events([responses_text(text)], {}, pieces=1)[2])
    event = openai_chunks([text], None, finish=None)[1] if protocol == "openai" else anthropic_events([text], 1, 1)[3]
    return _written(event)


def _call_events(protocol: Protocol, number: int, arguments: str) -> list[Any]:
    if protocol == "openai":
        deltas = [delta for index in range(number) for delta in openai_call(index, "clock", [arguments])]
        return openai_chunks([], openai_usage(20, 3), deltas=deltas, finish="tool_calls")
    if protocol == "responses":
        return responses_events([responses_call(n, "clock", arguments) for n in range(number)], responses_usage(20, 3))
    blocks = [block for index in range(1, number + 1) for block in anthropic_call(index, "clock", [arguments])]
    return anthropic_events([], 20, 3, blocks=blocks, stop="tool_use")


def sizes(random: Random, protocol: Protocol, _: str) -> tuple[str, Answer]:
    text, begun = _text_event(protocol, "x"), stream(honest(random, protocol)[:2], "anthropic")
    long = "x" * random.choice([300, 5000, 60_000])
    size = random.choice([1 << 12, 1 << 17, 1 << 19])
    options: dict[str, Callable[[], Answer]] = {
        "no line's end": lambda: http(_flood(b"x", begun)),
        "no event's end": lambda: http(_flood(b"data: x\n", begun)),
        "pieces without end": lambda: http(_flood(text, begun)),
        "empty lines": lambda: http(_flood(b"\n", begun)),
        "comments": lambda: http(_flood(b": wait\n\n", begun)),
        "empty events": lambda: http(_flood(b'data: {"choices": [], "type": "ping"}\n\n', begun)),
        "honest in one piece": lambda: http(_whole(protocol, long)),
        "a piece of size": lambda: http(_whole(protocol, "é" * size)),
        "calls": lambda: http(
            stream(_call_events(protocol, random.choice([2, 127, 128, 129, 600]), '{"a": 1}'), protocol)
        ),
        "a call's arguments": lambda: http(stream(_call_events(protocol, 1, json.dumps({"a": "x" * size})), protocol)),
        "deep": lambda: http(begun + b"data: " + b'{"choices":[' * size + b"\n\n"),
        "many items": lambda: http(begun + b'data: {"choices":[' + b"1," * (size // 2) + b"1]}\n\n"),
        "a packed flood": lambda: http(
            PACKED, content_encoding=random.choice(["gzip", "GZIP", "x-gzip", "br", "gzip, gzip"])
        ),
        "an error's flood": lambda: http(_flood(b"e"), status=random.choice([400, 429, 500])),
        "a packed error": lambda: http(PACKED, status=500, content_encoding="gzip"),
        "a length of more": lambda: http(stream(honest(random, protocol), protocol), content_length=str(1 << 40)),
    }
    name = random.choice(list(options))
    return name, options[name]()


def _whole(protocol: Protocol, text: str) -> bytes:
    tokens = len(text) // 4
    made: dict[Protocol, Callable[[], Events]] = {
        "openai": lambda: openai_chunks([text], openai_usage(20, tokens)),
        "anthropic": lambda: anthropic_events([text], 20, tokens),
        "responses": lambda: responses_events([responses_text(text)], responses_usage(20, tokens), pieces=1),
    }
    return stream(made[protocol](), protocol)


def counts(random: Random, protocol: Protocol, _: str) -> tuple[str, Answer]:
    events = copy.deepcopy(honest(random, protocol))
    told = {name: random.choice(COUNTS) for name in ("prompt", "completion", "cached")}
    if protocol == "anthropic":
        usage = {
            "input_tokens": told["prompt"],
            "cache_read_input_tokens": told["cached"],
            "output_tokens": told["completion"],
        }
        events[0][1]["message"]["usage"].update(usage)
        next(data for name, data in events if name == "message_delta")["usage"] = usage
    elif protocol == "responses":
        usage = {"input_tokens": told["prompt"], "output_tokens": told["completion"]}
        usage["input_tokens_details"] = {"cached_tokens": told["cached"]}
        for _, data in events if random.random() < 0.3 else events[-1:]:
            data.setdefault("response", {})["usage"] = usage
    else:
        usage = {"prompt_tokens": told["prompt"], "completion_tokens": told["completion"]}
        usage["prompt_tokens_details"] = {"cached_tokens": told["cached"]}
        kind = random.choice(["usage", "timings", "continuous"])
        if kind == "timings":
            usage = {"prompt_n": told["prompt"], "cache_n": told["cached"], "predicted_n": told["completion"]}
        for _, data in events if kind != "usage" else events[-1:]:
            data.pop("usage", None)
            data["timings" if kind == "timings" else "usage"] = usage
    return str(told), http(stream(events, protocol))


def shapes(random: Random, protocol: Protocol, _: str) -> tuple[str, Answer]:
    """An honest stream with one to three places changed."""
    events: list[Any] = list(copy.deepcopy(honest(random, protocol)))
    done = []
    for _ in range(random.randint(1, 3)):
        at = random.randrange(len(events))
        match random.randrange(8):
            case 0:
                events[at] = (
                    b"data: "
                    + random.choice(
                        [
                            b"{",
                            b"nonsense",
                            b"NaN",
                            b"[]",
                            b"7",
                            b"null",
                            b'"x"',
                            b"\xff\xfe",
                            b'{"a": 1}{',
                            b'{"choices": "\\ud800"}',
                        ]
                    )
                    + b"\n\n"
                )
            case 1:
                events.insert(at, events[random.randrange(len(events))])
            case 2:
                del events[at]
                events = events or [b"\n"]
            case 3:
                events[at] = random.choice(
                    [b"data:\n\n", b"event: x\n\n", b":\r\r\n", b"data\n\n", b"\xef\xbb\xbfdata: 1\n\n"]
                )
            case _:
                if not isinstance(events[at], bytes):
                    events[at] = (events[at][0], _changed(random, copy.deepcopy(events[at][1])))
        done.append(at)
    return f"changed at {done}", http(stream(events, protocol))


def _changed(random: Random, value: Any) -> Any:
    """With a hostile value in one place, or without it."""
    inner = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not inner or random.random() < 0.2:
        return random.choice(VALUES)
    key = random.choice(inner)
    if random.random() < 0.15:
        del value[key]
    else:
        value[key] = _changed(random, value[key])
    return value


def limits(random: Random, protocol: Protocol, _: str) -> tuple[str, Answer]:
    kind = random.choice(["requests", "tokens"])
    pairs = {"limit": random.choice(["60", "1", "0", "1e308", "nan", "inf", "-5", "x"])}
    pairs |= {"remaining": random.choice(["0", "59", "-9", "1e-300", "inf", "nan", "x"]), "reset": random.choice(WAITS)}
    shape = "anthropic-ratelimit-{0}-{1}" if protocol == "anthropic" else "x-ratelimit-{1}-{0}"
    headers = {shape.format(kind, name): value for name, value in pairs.items()}
    headers[random.choice(["retry-after", "retry-after-ms"])] = random.choice(WAITS)
    status = random.choice([200, *STATUSES])
    error = random.choice([{"error": {"message": "slow", "code": random.choice(VALUES)}}, *VALUES])
    body = stream(honest(random, protocol), protocol) if status == 200 else json.dumps(error).encode()
    return f"{status} {headers}", http(body, status=status, **headers)


def redirects(random: Random, protocol: Protocol, elsewhere: str) -> tuple[str, Answer]:
    path = random.choice(["/v1/chat/completions", "/v1/messages", "/v1/responses", "", "/" + "x" * 5000])
    target = random.choice(
        [elsewhere + path, elsewhere.replace("http:", ""), "", "http://[", "file:///etc/passwd", "\x7f"]
    )
    status = random.choice([301, 302, 303, 307, 308])
    return f"{status} {target[:60]}", http(b"", status=status, location=target)


def cuts(random: Random, protocol: Protocol, _: str) -> tuple[str, Answer]:
    """An honest reply, or a broken head, that ends at any byte: with the connection's end or its reset."""
    if random.random() < 0.15:
        head = random.choice(BROKEN_HEADS)
        return f"head {head[:40]!r}", Answer(raw=lambda: iter([head]), resets=random.random() < 0.3)
    body = stream(honest(random, protocol), protocol)
    whole = b"".join(
        (http(_in_chunks(body), transfer_encoding="chunked") if random.random() < 0.5 else http(body)).raw()
    )
    at, resets = random.randrange(len(whole)), random.random() < 0.3
    size = random.choice([1, 7, at or 1])
    pieces = [whole[start : min(start + size, at)] for start in range(0, at, size)]
    return f"at {at} of {len(whole)}, by {size}", Answer(raw=lambda: iter(pieces), resets=resets)


def _in_chunks(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"


FAMILIES: dict[str, Callable[[Random, Protocol, str], tuple[str, Answer]]] = {
    kind.__name__: kind for kind in (sizes, counts, shapes, limits, redirects, cuts)
}
