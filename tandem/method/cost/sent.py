"""How many tokens an API can count of what it is sent: by the bytes of its text, and by the vendors' rules of images
and files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

ADDED_TOKENS = 512
"""By the API's template, its own system prompt and its description of tools, at most."""
_LIKELY_IMAGE = 1_600  # Anthropic's up to Claude 4.6; OpenAI's 8 tiles of 512 px are 85 + 8 x 170
_MOST_IMAGE = {
    "image": 4_784,  # platform.claude.com/docs/en/build-with-claude/vision, of a model with high resolution
    # 8 tiles of 512 px, each 5,667, and 2,833: gpt-4o-mini's, the most of OpenAI's tiles and patches of 32 px.
    **dict.fromkeys(("image_url", "input_image", "computer_screenshot"), 48_169),
}
_FILES = frozenset({"document", "file", "input_file", "input_audio"})
_PAGE = 4_600  # of a PDF, at most: 3,000 of text, and an image of it
_PACKED = 4  # characters of text that a byte of a file may stand for
_LIKELY_BYTES = 16  # of a file for each of its tokens: an ordinary PDF has 50,000 for a page
_MOST_FILE = 1 << 20  # the longest context; so much has a file that is only named
_MOST_DESCRIPTION = 1_024  # of a tool that the vendor describes itself, with what it tells the model of it
MOST_USES, _MOST_SAID = 10, 128
"""Of a tool that the vendor runs, in one reply: where the body does not say, and whatever it says."""
_MOST_FOUND = 10_000  # tokens that one use adds, such as the results of a search
_DESCRIBED_HERE = ("", "function", "custom", "namespace")
_DATA = ("source.data", "image_url.url", "image_url", "file.file_data", "file_data", "input_audio.data")


@dataclass(frozen=True, slots=True)
class Sent:
    """`text` in bytes; `others` are the most tokens of what is no text, `likely` an estimate of them."""

    text: int
    others: int = 0
    likely: int = 0

    @property
    def most_tokens(self) -> int:
        """No token of a text is shorter than a byte."""
        return self.text + self.others + ADDED_TOKENS


def sent_in(body: Mapping[str, Any], size: int, tools: Collection[str] = ()) -> Sent:
    """What a body of any of the three protocols holds, `size` bytes of JSON. `tools`: the vendor's own that it may use,
    which add what they find.
    """
    data, others, likely = 0, 0, 0
    for part in _parts(body):
        kind, held = str(part.get("type")), _data_of(part)
        if kind in _MOST_IMAGE:
            data, others, likely = data + held, others + _MOST_IMAGE[kind], likely + _LIKELY_IMAGE
        elif kind in _FILES and not _is_text(part):
            most = min(_PACKED * held + _PAGE, _MOST_FILE) if held else _MOST_FILE
            data, others = data + held, others + most
            likely += min(most, _LIKELY_IMAGE + held // _LIKELY_BYTES)
    named = sum(str(tool.get("type", "")) not in _DESCRIBED_HERE for tool in _tools(body))
    found = sum(uses_in(body, tools).values()) * _MOST_FOUND
    return Sent(size - data, others + named * _MOST_DESCRIPTION + found, likely)


def uses_in(body: Mapping[str, Any], tools: Collection[str]) -> dict[str, int]:
    """How often the vendor may run each of its own `tools` for one reply: as often as the body says, else MOST_USES."""
    own = [(str(tool.get("type")), tool.get("max_uses")) for tool in _tools(body)]
    of_all = _count(body.get("max_tool_calls"), MOST_USES)
    return {
        tool: next((_count(most, of_all) for kind, most in own if kind.startswith(tool)), of_all)
        for tool in sorted(tools)
    }


def _count(given: Any, otherwise: int) -> int:
    is_count = isinstance(given, int) and not isinstance(given, bool) and given >= 0
    return min(given, _MOST_SAID) if is_count else otherwise


def _tools(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = body.get("tools")
    return [tool for tool in given if isinstance(tool, dict)] if isinstance(given, list) else []


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The parts of its messages, also of tools' results. Arguments of calls are text, whatever they look like."""
    left = [body.get(name) for name in ("messages", "input", "system")]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += value
        elif isinstance(value, dict):
            yield value
            left += [value.get("content"), value.get("output")]


def _data_of(part: Mapping[str, Any]) -> int:
    """Bytes of the Base64 text that stands for an image or a file; 0 where it is only named."""
    for path in _DATA:
        value: Any = part
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and (value.startswith("data:") or not path.endswith("url")):
            return len(value.encode(errors="surrogatepass"))
    return 0


def _is_text(part: Mapping[str, Any]) -> bool:
    """A document of Anthropic's whose source is text, or parts that are counted by themselves."""
    source = part.get("source")
    return isinstance(source, dict) and source.get("type") in ("text", "content")
