"""The answer's process: it loads the program, and calls its functions for the process that holds the examples."""

from __future__ import annotations

import contextlib
import io
import sys
from types import ModuleType
from typing import Any

from services.answer_checker.inside.values import CannotSend, decode, encode
from services.answer_checker.sandbox.messages import BadMessage, Channel

_PRINTED_CHARACTERS = 1 << 16
_MESSAGE_CHARACTERS = 500
_NAME = "answer"


def main(talk: Channel, peer: Channel) -> None:
    """Run the program of the job from `talk`, then answer calls from `peer` until that closes."""
    program = talk.receive()["program"]
    talk.close()
    module = ModuleType(_NAME)
    sys.modules[_NAME] = module  # dataclasses look their own module up
    loaded = _outcome(lambda: exec(compile(program, f"{_NAME}.py", "exec"), module.__dict__))  # nosec B102  # runs in the sandbox
    peer.send(loaded)
    while (call := peer.receive()) is not None:
        _reply(peer, _answer(call, module))


def _answer(call: dict[str, Any], module: ModuleType) -> dict[str, Any]:
    if call["do"] == "look":
        return {name: _description(getattr(module, name)) for name in call["names"] if hasattr(module, name)}
    arguments = decode(call["arguments"])
    keywords = decode(call["keywords"])
    outcome = _outcome(lambda: getattr(module, call["name"])(*arguments, **keywords))
    with contextlib.suppress(CannotSend):
        outcome["arguments"] = encode(arguments)
    return outcome


def _outcome(run: Any) -> dict[str, Any]:
    """What it returns or raises, and what it prints."""
    printed = _Bounded()
    try:
        with contextlib.redirect_stdout(printed):
            return {"value": encode(run()), "printed": printed.getvalue()}
    except CannotSend as error:
        return {"cannot_send": str(error)}
    except RecursionError:
        return {"raised": "RecursionError", "message": "too many calls within each other"}
    except BaseException as error:
        return {
            "raised": type(error).__name__,
            "message": _message(error),
            "missing": getattr(error, "name", None) or "",
        }


def _description(value: Any) -> Any:
    """None for what can be called."""
    return None if callable(value) else {"value": _outcome(lambda: value)}


def _reply(peer: Channel, message: dict[str, Any]) -> None:
    try:
        peer.send(message)
    except BadMessage:
        peer.send({"cannot_send": "is too large"})


def _message(error: BaseException) -> str:
    try:
        return str(error)[:_MESSAGE_CHARACTERS]
    except Exception:
        return ""


class _Bounded(io.StringIO):
    """What a program prints, up to a bound: the rest is dropped."""

    def write(self, text: str) -> int:
        super().write(text[: max(0, _PRINTED_CHARACTERS - self.tell())])
        return len(text)
