"""The answer's functions, as the examples' process calls them."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

from services.answer_checker.inside.values import CannotSend, NotComparable, Opaque, decode, encode
from services.answer_checker.sandbox.messages import BadMessage, Channel

_MARK = "raised_by_the_answer"


class DoesNotLoad(Exception):
    """The program raised before it could be called. `missing` is the module that it did not find."""

    def __init__(self, message: str, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


class Failed(Exception):
    """A call that came to no value; the message goes on the words that name the call."""


class Remote:
    """Calls to the other process. Whatever comes from there is a literal, an exception's name and text, or nothing."""

    def __init__(self, peer: Channel) -> None:
        self._peer = peer

    def wait_until_loaded(self) -> None:
        """Raises DoesNotLoad."""
        try:
            loaded = self._receive()
        except Failed as error:
            raise DoesNotLoad(f"the program {error}") from None
        if "value" not in loaded:
            missing = loaded.get("missing") if loaded.get("raised") == "ModuleNotFoundError" else ""
            raise DoesNotLoad(f"the program {_words(loaded)}", str(missing or ""))

    def look(self, names: list[str]) -> dict[str, Any]:
        """Those of the names that the program defines: a function that calls it there, or a value."""
        found = self._ask({"do": "look", "names": names})
        known = {}
        for name in names:
            if name in found:
                value = found[name]
                known[name] = self.function(name) if value is None else _decode(value["value"].get("value"))
        return known

    def function(self, name: str) -> Callable[..., Any]:
        """A function that calls the program's function of that name."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            return self._call(name, arguments, keywords)

        call.__name__ = call.__qualname__ = name
        return call

    def _call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        outcome = self._ask(
            {"do": "call", "name": name, "arguments": _encode(list(arguments)), "keywords": _encode(keywords)}
        )
        if "printed" in outcome:
            sys.stdout.write(str(outcome["printed"]))
        if "arguments" in outcome:
            _apply(arguments, _decode(outcome["arguments"]))
        if "value" in outcome:
            return _decode(outcome["value"])
        if "raised" in outcome:
            raise _exception(str(outcome["raised"]), str(outcome.get("message", "")))
        raise Failed(_words(outcome))

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._peer.send(message)
        except BadMessage:
            raise NotComparable("an argument is too large") from None
        except OSError:
            raise Failed("ended its process") from None
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        try:
            found = self._peer.receive()
        except BadMessage:
            raise Failed("answered with no value") from None
        if not isinstance(found, dict):
            raise Failed("ended its process" if found is None else "answered with no value")
        return found


def _words(outcome: dict[str, Any]) -> str:
    if "raised" in outcome:
        message = str(outcome.get("message", ""))
        return f"raised {outcome['raised']}" + (f": {message}" if message else "")
    return f"returned a value that {outcome.get('cannot_send', 'is none')}"


def is_of_answer(error: Exception) -> bool:
    """Whether the answer's process raised it, not the example itself."""
    return hasattr(error, _MARK)


def _exception(name: str, message: str) -> Exception:
    """The built-in exception, or one of that name. An end of the process is an exception like any other here."""
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = type(name if name.isidentifier() else "Exception", (Exception,), {})
    try:
        error: Exception = kind(message)
    except TypeError:  # UnicodeDecodeError and such need more than a message
        error = type(name, (Exception,), {})(message)
    setattr(error, _MARK, True)
    return error


def _apply(arguments: tuple[Any, ...], after: Any) -> None:
    """A function may change its arguments: lists, dicts and sets take the new contents."""
    if not isinstance(after, list) or len(after) != len(arguments):
        return
    for mine, new in zip(arguments, after, strict=True):
        if type(mine) is not type(new):
            continue
        if isinstance(mine, list):
            mine[:] = new
        elif isinstance(mine, dict | set):
            mine.clear()
            mine.update(new)


def _encode(value: Any) -> Any:
    try:
        encoded = encode(value)
    except CannotSend as error:
        raise NotComparable(f"an argument {error}") from None
    if _has_opaque(encoded):
        raise NotComparable("an argument is no literal")
    return encoded


def _has_opaque(encoded: Any) -> bool:
    if not isinstance(encoded, list):
        return False
    tag, payload = encoded
    return tag == "opaque" or (isinstance(payload, list) and any(map(_has_opaque, payload)))


def _decode(found: Any) -> Any:
    try:
        return decode(found)
    except NotComparable:
        raise
    except Exception:
        return Opaque("<no value>")
