"""Values between the answer's process and the examples' process: literals as JSON with tags, and nothing that runs
code.
"""

from __future__ import annotations

import datetime as dt
import math
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

from services.answer_checker.inside.opaque import NotANumber, Opaque, endless

MAX_DEPTH = 60
MAX_ITEMS = 200_000
_MAX_DRAWN = 2_000
"""How many items of an iterator cross: it may be endless."""
_MAX_BITS = 1 << 20
_MAX_TEXT = 1 << 20
_SHOWN_CHARACTERS = 500


class CannotSend(Exception):
    """A value is too large or nested too deeply to cross."""


def encode(value: Any) -> Any:
    """Encode as JSON. Raises CannotSend for what is too large, and whatever the value's own methods raise."""
    return _Encoder().encode(value, 0)


def decode(found: Any) -> Any:
    """Return what `encode` made. Raises ValueError, TypeError, KeyError or ArithmeticError for anything else."""
    if not isinstance(found, list):
        return found
    tag, payload = found
    return _DECODERS[tag]([decode(part) for part in payload] if isinstance(payload, list) else payload)


class _Encoder:
    def __init__(self) -> None:
        self._left = MAX_ITEMS

    def encode(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0:
            raise CannotSend("is too large")
        if depth > MAX_DEPTH:
            raise CannotSend("is nested too deeply")
        if value is None or isinstance(value, bool):
            return value
        for kind, (tag, take_apart) in _KINDS.items():
            if isinstance(value, kind):
                payload = take_apart(value)
                return [tag, self._parts(payload, depth) if isinstance(payload, _Parts) else payload]
        if type(value).__module__.partition(".")[0] == "numpy" and hasattr(value, "tolist"):
            return self.encode(value.tolist(), depth + 1)
        if isinstance(value, Iterator):
            drawn = _Parts(islice(value, _MAX_DRAWN + 1))
            tag = "iterator" if len(drawn) <= _MAX_DRAWN else "endless"
            return [tag, self._parts(_Parts(drawn[:_MAX_DRAWN]), depth)]
        return ["opaque", [_text_of(repr, value), _text_of(str, value)]]

    def _parts(self, parts: _Parts, depth: int) -> list[Any]:
        return [self.encode(part, depth + 1) for part in parts]


class _Parts(list[Any]):
    """Parts of a value that are values themselves."""


def _int(value: int) -> str:
    if value.bit_length() > _MAX_BITS:
        raise CannotSend("is too large")
    return hex(value)


def _text(value: Any) -> str:
    if len(value) > _MAX_TEXT:
        raise CannotSend("is too large")
    return value.hex() if isinstance(value, bytes | bytearray) else str(value)


def _items(value: dict[Any, Any]) -> _Parts:
    return _Parts(part for item in value.items() for part in item)


def _text_of(show: Callable[[Any], str], value: Any) -> list[str]:
    try:
        return ["str", show(value)[:_SHOWN_CHARACTERS]]
    except Exception as error:
        return ["str", f"<{type(value).__name__} without a text: {type(error).__name__}>"]


# In the order of the search: a subclass before its base.
_KINDS: dict[type, tuple[str, Callable[[Any], str | _Parts]]] = {
    int: ("int", _int),
    float: ("float", repr),
    str: ("str", _text),
    bytes: ("bytes", _text),
    bytearray: ("bytearray", _text),
    list: ("list", _Parts),
    tuple: ("tuple", _Parts),
    Counter: ("Counter", _items),
    OrderedDict: ("OrderedDict", _items),
    defaultdict: ("dict", _items),
    dict: ("dict", _items),
    set: ("set", _Parts),
    frozenset: ("frozenset", _Parts),
    deque: ("deque", _Parts),
    KeysView: ("keys", _Parts),
    ValuesView: ("values", _Parts),
    ItemsView: ("items", lambda v: _Parts(part for item in v for part in item)),
    range: ("range", lambda v: _Parts((v.start, v.stop, v.step))),
    complex: ("complex", lambda v: _Parts((v.real, v.imag))),
    Fraction: ("Fraction", lambda v: _Parts((v.numerator, v.denominator))),
    Decimal: ("Decimal", str),
    dt.datetime: ("datetime", lambda v: v.isoformat()),
    dt.date: ("date", lambda v: v.isoformat()),
    dt.time: ("time", lambda v: v.isoformat()),
    dt.timedelta: ("timedelta", lambda v: _Parts((v.days, v.seconds, v.microseconds))),
}


def _pairs(parts: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda v: int(v, 16),
    "float": lambda v: NotANumber("nan") if math.isnan(float(v)) else float(v),
    "str": str,
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "list": list,
    "tuple": tuple,
    "Counter": lambda v: Counter(dict(_pairs(v))),
    "OrderedDict": lambda v: OrderedDict(_pairs(v)),
    "dict": lambda v: dict(_pairs(v)),
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "keys": lambda v: dict.fromkeys(v).keys(),
    "values": lambda v: dict(enumerate(v)).values(),
    "items": lambda v: dict(_pairs(v)).items(),
    "iterator": iter,
    "endless": endless,
    "range": lambda v: range(*v),
    "complex": lambda v: complex(*v),
    "Fraction": lambda v: Fraction(*v),
    "Decimal": Decimal,
    "datetime": dt.datetime.fromisoformat,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timedelta": lambda v: dt.timedelta(*v),
    "opaque": lambda v: Opaque(*v),
}
