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
        return {"callable": [name for name in call["names"] if callable(getattr(module, name, None))]}
    if not hasattr(module, call["name"]):
        return {"undefined": True}
    given = list(map(decode, call["given"]))
    first = len(given) - len(call["keywords"])
    arguments, keywords = given[:first], dict(zip(call["keywords"], given[first:], strict=True))
    outcome = _outcome(lambda: getattr(module, call["name"])(*arguments, **keywords))
    with contextlib.suppress(CannotSend):
        outcome["given"] = list(map(encode, given))
    return outcome


def _outcome(run: Any) -> dict[str, Any]:
    """Return what it returns or raises, and what it prints."""
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
            "bases": [base.__name__ for base in type(error).__mro__[1:]],
            "message": _message(error),
            "missing": getattr(error, "name", None) or "",
        }


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
