"""What of a caller's own body is passed on to an API of the same protocol: the shape of what may pass, what an operator
allows beyond it, and the sieve that copies of a body what may pass and names the rest.

Each protocol's file has its shape. In it is what the protocol's public API documents and what changes neither who pays,
nor the model, nor where it runs, and starts nothing at the vendor. What is not in it is left out and named, or refused
where the text would mean something else without it. An operator adds names (`llm.api.pass`, and a tenant's `pass`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from tandem.openai.parameters import RefusedParameter
from tandem.openai.schemas import loosened

_PLACE = re.compile(r"[\w.=\[\]-]{1,100}", re.ASCII)
MOST_NAMED = 32
_LEFT_OUT: Final = object()


class Leaf(Enum):
    """Values of which no field is looked at."""

    PLAIN = "a text, a number or a truth value, or a list of these"
    NAMED = "an object of such values, by names that the caller chooses"
    DATA = "any value: the caller's own, which the API hands to the model or gives back"
    SCHEMA = "a JSON schema"
    GRAMMAR = "the format of a custom tool's input: a vendor's own API alone is given one"
    BETAS = "names of the header `anthropic-beta`"
    URL = "an address that the API reads from"
    ACCOUNT = "the id of what the operator's account at the API holds: refused unless the operator allows it by name"


@dataclass(frozen=True, slots=True)
class Kinds:
    """An object by its `type`. Where one of another type `is_content`, it is refused, since the text would mean
    something else without it; else it is left out. `default`: the type of an object that names none. A name that ends
    in `_` stands for all its versions, as in `bash_20250124`.
    """

    kinds: Mapping[str, Any]
    is_content: bool = False
    default: str = ""

    def shape_of(self, kind: str) -> Any:
        """None where the type is not in the list."""
        return self.kinds.get(kind) or self.kinds.get(kind.rstrip("0123456789"))


Shape = Any
"""A Leaf; a mapping of an object's fields to their shapes; a list that holds the shape of each item; Kinds; a tuple of
alternatives, of which the first that fits is taken.
"""


def plain(names: str) -> dict[str, Shape]:
    """Plain fields, by their names."""
    return dict.fromkeys(names.split(), Leaf.PLAIN)


def text_or(items: Shape) -> Shape:
    """A text, or a list of such items."""
    return (Leaf.PLAIN, [items])


CACHE = plain("type ttl")
_BREAKPOINT = plain("mode ttl")
MARKS: Mapping[str, Shape] = {"cache_control": CACHE, "prompt_cache_breakpoint": _BREAKPOINT}
CACHE_OF_OPENAI: Mapping[str, Shape] = {
    **plain("prompt_cache_key prompt_cache_retention"),
    "prompt_cache_options": _BREAKPOINT,
}

_SUFFIXES = re.compile(r"(_\d{8}|_preview|_call_output|_call|_tool_result|_options)$")
_OTHER_NAMES = {"mcp_servers": "mcp", "mcp_tool_use": "mcp", "mcp_toolset": "mcp"}
_FIELDS_OF_TOOLS = frozenset({"web_search_options", "mcp_servers"})  # their presence starts the tool
# What every program reads alike: no user, no backslash, nothing but ASCII.
_HTTPS = re.compile(
    r"https://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_-][A-Za-z0-9._-]*)(:\d{1,5})?([/?#][\x21-\x5b\x5d-\x7e]*)?"
)
_BETAS = re.compile(
    r"(claude-code|interleaved-thinking|dev-full-thinking|fine-grained-tool-streaming|context-management"
    r"|prompt-caching|prompt-caching-scope|extended-cache-ttl|token-efficient-tools|structured-outputs|effort"
    r"|task-budgets|pdfs|output-128k|computer-use|cache-diagnosis|model-context-window-exceeded|thinking-token-count"
    r"|thinking-display-updates|tool-examples|advanced-tool-use|mid-conversation-system)-\d{4}-\d{2}-\d{2}|claude-code-\d{8}"
)  # what they announce needs no field or tool that is not in the list, and has no price of its own


def nameable(place: str) -> str:
    """A place in a body as a header and a log can name it."""
    return place if _PLACE.fullmatch(place) else "other"


def tool_of(kind: str) -> str:
    """The name of a vendor's tool by its type, call, result or field: `web_search` of `web_search_20250305`,
    `web_search_call` and `web_search_options`.
    """
    while (shorter := _SUFFIXES.sub("", kind)) != kind:
        kind = shorter
    return _OTHER_NAMES.get(kind, kind)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an operator allows an endpoint beyond the list: `names` of fields, types and betas. `fees`: USD for each use
    of a tool that the vendor runs; a tool without a fee is not passed on. `is_vendors`: the endpoint is a vendor's own.
    """

    names: frozenset[str] = frozenset()
    fees: Mapping[str, float] = field(default_factory=dict)
    is_vendors: bool = False

    def field(self, name: str) -> bool:
        return self.tool(name) if name in _FIELDS_OF_TOOLS else name in self.names

    def tool(self, kind: str) -> bool:
        return tool_of(kind) in self.fees and not self.names.isdisjoint((kind, tool_of(kind)))

    def content(self, part: Mapping[str, Any], kind: str) -> bool:
        """A part of a conversation: a type that is allowed by its name, or what an allowed tool did."""
        return kind in self.names or self.tool(str(part.get("name")) if kind == "server_tool_use" else kind)


class Sieve:
    """One body on its way to an API. `hosts`: those of its https addresses; a server that is not a vendor's reads them
    from the operator's network, so each has to be a public one. `schemas`: what such a server may compile. `tools`:
    names of tools that the vendor may run.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._dropped: dict[str, None] = {}
        self.hosts: set[str] = set()
        self.schemas: list[dict[str, Any]] = []
        self.tools: set[str] = set()

    @property
    def dropped(self) -> tuple[str, ...]:
        """The places that were left out, each once, as in `messages[].content[].name`."""
        return tuple(self._dropped)[:MOST_NAMED]

    def passed(self, value: Mapping[str, Any], shape: Mapping[str, Shape], place: str = "") -> dict[str, Any]:
        """The fields of an object that may pass, in their order. Raises RefusedParameter where the text would mean
        something else without what may not.
        """
        passed: dict[str, Any] = {}
        for name, inner in value.items():
            at = f"{place}.{name}".lstrip(".")
            if self._allowance.field(name):
                self.tools.update({tool_of(name)} & self._allowance.fees.keys())
                passed[name] = inner
            elif name not in shape:
                self._leave_out(at)
            elif (kept := self._value(inner, shape[name], at)) is not _LEFT_OUT:
                passed[name] = kept
        return passed

    def _value(self, value: Any, shape: Shape, place: str) -> Any:
        if isinstance(shape, tuple):
            shape = next((each for each in shape if _fits(value, each)), shape[0])
        if value is None:
            return None
        if not _fits(value, shape):
            return self._leave_out(place)
        if isinstance(shape, Leaf):
            return self._leaf(value, shape, place)
        if isinstance(shape, Kinds):
            return self._kind(value, shape, place)
        if isinstance(shape, list):
            items = (self._value(item, shape[0], f"{place}[]") for item in value)
            return [item for item in items if item is not _LEFT_OUT]
        return self.passed(value, shape, place)

    def _kind(self, value: Mapping[str, Any], shape: Kinds, place: str) -> Any:
        kind = str(value.get("type", shape.default))
        if (own := shape.shape_of(kind)) is not None:
            return self.passed(value, own, place)
        if shape.is_content and self._allowance.content(value, kind):
            return value
        if not shape.is_content and self._allowance.tool(kind):
            self.tools.add(tool_of(kind))
            return value
        at = f"{place.removesuffix('[]')}[type={kind}]"
        if shape.is_content:
            raise _refused(at, "it is not passed on unless the operator allows its type (`pass` of the endpoint)")
        return self._leave_out(at)

    def _leaf(self, value: Any, shape: Leaf, place: str) -> Any:
        match shape:
            case Leaf.ACCOUNT:
                raise _refused(place, "files of the operator's account are not passed on: send the content itself")
            case Leaf.URL if not self._is_safe(value):
                raise _refused(place, "an endpoint is given `data:` URLs and https addresses of public hosts alone")
            case Leaf.GRAMMAR if not self._allowance.is_vendors:
                return self._leave_out(place)
            case Leaf.SCHEMA if not self._allowance.is_vendors:
                self.schemas.append(bounded := loosened(value))
                return bounded
            case Leaf.BETAS:
                return self._known_betas(value if isinstance(value, list) else [value], place)
        return value

    def _is_safe(self, url: str) -> bool:
        if url.startswith("data:"):
            return True
        if self._allowance.is_vendors:
            return url.startswith(("https://", "http://"))
        if found := _HTTPS.fullmatch(url):
            self.hosts.add(found[1].strip("[]"))
        return found is not None

    def _known_betas(self, betas: list[Any], place: str) -> list[str]:
        known = [beta for beta in map(str, betas) if beta in self._allowance.names or _BETAS.fullmatch(beta)]
        for beta in betas:
            if beta not in known:
                self._leave_out(f"{place}[{beta}]")
        return known

    def _leave_out(self, place: str) -> Any:
        self._dropped[nameable(place)] = None
        return _LEFT_OUT


def _fits(value: Any, shape: Shape) -> bool:
    if shape is Leaf.DATA:
        return True
    if shape in (Leaf.PLAIN, Leaf.BETAS):
        return _is_plain(value) or (isinstance(value, list) and all(map(_is_plain, value)))
    if shape in (Leaf.URL, Leaf.ACCOUNT):
        return isinstance(value, str)
    if isinstance(shape, list):
        return isinstance(value, list)
    return isinstance(value, dict) and (shape is not Leaf.NAMED or all(map(_is_plain, value.values())))


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _refused(place: str, why: str) -> RefusedParameter:
    named = nameable(place)
    return RefusedParameter(named, f"{named} is not supported: {why}")


def leads(shape: Shape, place: str) -> bool:
    """Whether `shape` lets pass what stands at a place, such as `tools[].cache_control`."""
    return _leads(shape, re.findall(r"\[type=[^\]]*\]|\[\]|[^.\[\]]+", place))


def _leads(shape: Shape, parts: list[str]) -> bool:
    if isinstance(shape, tuple):
        return any(_leads(each, parts) for each in shape)
    if not parts:
        return shape is not Leaf.ACCOUNT
    part, *rest = parts
    if isinstance(shape, list):
        return _leads(shape[0], rest if part == "[]" else parts)
    if isinstance(shape, Kinds) and part.startswith("[type="):
        kind = part[6:-1]
        return shape.is_content if kind == "*" else shape.shape_of(kind) is not None
    if isinstance(shape, Kinds):
        return any(_leads(each, parts) for each in shape.kinds.values())
    if isinstance(shape, Mapping):
        return part in shape and _leads(shape[part], rest)
    return shape in (Leaf.DATA, Leaf.SCHEMA)
