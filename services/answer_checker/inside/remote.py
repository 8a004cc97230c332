"""The answer's functions, as the examples' process calls them."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from services.answer_checker.inside.opaque import NotComparable
from services.answer_checker.inside.values import CannotSend, decode, encode
from services.answer_checker.sandbox.messages import BadMessage, Channel

EXAMPLES = "examples"
"""The name of the module in which examples run."""
_MARK = "raised_by_the_answer"
_ENDS_AN_ITERATION = "StopIteration", "StopAsyncIteration", "GeneratorExit"


class DoesNotLoad(Exception):
    """The program raised before it could be called. `missing` is the module that it did not find."""

    def __init__(self, message: str, missing: str = "") -> None:
        super().__init__(message)
        self.missing = missing


class Failed(BaseException):
    """A call that came to no value; the message goes on the words that name the call. No Exception, for no test may
    expect it.
    """


@dataclass(slots=True)
class Calls:
    """What has become of calls of the `tested` functions. `failure`: why the last one of an example came to no value.

    `has_changed`: one has changed an argument in place.
    """

    tested: frozenset[str] = frozenset()
    has_called: bool = False
    has_changed: bool = False
    failure: str = ""


class Remote:
    """Calls to the other process. Whatever comes from there is a literal, an exception's name and text, or nothing."""

    def __init__(self, peer: Channel) -> None:
        self._peer = peer
        self.calls = Calls()

    def wait_until_loaded(self) -> None:
        """Raises DoesNotLoad."""
        try:
            loaded = self._receive()
        except Failed as error:
            raise DoesNotLoad(f"the program {error}") from None
        if "value" not in loaded:
            missing = loaded.get("missing") if loaded.get("raised") == "ModuleNotFoundError" else ""
            raise DoesNotLoad(f"the program {_words(loaded)}", str(missing or ""))

    def callable_among(self, names: Iterable[str]) -> list[str]:
        """Return those of the names that are something to call in the program. Raises Failed."""
        wanted = sorted(names)
        found = self._ask({"do": "look", "names": wanted}).get("callable")
        return [name for name in wanted if isinstance(found, list) and name in found]

    def function(self, name: str) -> Callable[..., Any]:
        """Return a function that calls the program's function of that name. Raises what that raises, Failed and
        NotComparable.
        """

        def call(*arguments: Any, **keywords: Any) -> Any:
            try:
                return self._call(name, arguments, keywords)
            except Failed as error:
                self.calls.failure = str(error)
                raise

        call.__name__ = call.__qualname__ = name
        return call

    def _call(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        self.calls.has_called = True
        given = [*arguments, *keywords.values()]
        sent = list(map(_encode, given))
        outcome = self._ask({"do": "call", "name": name, "given": sent, "keywords": list(keywords)})
        if "printed" in outcome:
            sys.stdout.write(str(outcome["printed"]))
        self._change(given, sent, outcome.get("given"))
        if "value" in outcome:
            return _decode(outcome["value"])
        if "raised" in outcome:
            raise _exception(outcome)
        raise Failed(_words(outcome))

    def _change(self, given: list[Any], sent: list[Any], after: Any) -> None:
        """A function may change its arguments: lists, dicts and sets take the new contents."""
        if not isinstance(after, list) or len(after) != len(given):
            return
        for mine, before, found in zip(given, sent, after, strict=True):
            if isinstance(mine, list | dict | set) and found != before:
                self.calls.has_changed |= _take(mine, _decode(found))

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
    if outcome.get("undefined") is True:
        return "is not defined"
    return f"returned a value that {outcome.get('cannot_send', 'is none')}"


def is_of_answer(error: BaseException) -> bool:
    """Tell whether the answer's process raised it, not the example itself."""
    return hasattr(error, _MARK)


def _exception(outcome: dict[str, Any]) -> BaseException:
    """Return what was raised: of the examples' class of that name, the built-in one, or a new one under its built-in
    base.

    One that would silently end an example's loop has the name only.
    """
    name, message = str(outcome["raised"]), str(outcome.get("message", ""))
    kind = _kind_of(name)
    if kind is None:
        bases = [found for base in outcome.get("bases", ()) if (found := _kind_of(str(base)))]
        kind = type(name if name.isidentifier() else "Exception", (bases[0] if bases else Exception,), {})
    try:
        error: BaseException = kind(message)
    except Exception:  # UnicodeDecodeError and such need more than a message
        error = kind.__new__(kind, message)
    setattr(error, _MARK, True)
    return error


def _kind_of(name: str) -> type[BaseException] | None:
    found = getattr(sys.modules.get(EXAMPLES), name, None) or getattr(builtins, name, None)
    is_one = isinstance(found, type) and issubclass(found, BaseException) and name not in _ENDS_AN_ITERATION
    return found if is_one else None


def _take(mine: Any, new: Any) -> bool:
    if type(mine) is not type(new):
        return False
    if isinstance(mine, list):
        mine[:] = new
    else:
        mine.clear()
        mine.update(new)
    return True


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
    except Exception:
        raise Failed("answered with no value") from None
