"""What a reader is shown of a text, and the final answer in it: the LAST one counts (docs/method.md, Answers)."""

from __future__ import annotations

import json

_BOX, _FENCE = "\\boxed{", "```"
_FOUND_AT_THE_END = ("code", "json")


def shows_all(answer_format: str) -> bool:
    """Whether a reader is shown all that is written, so that it can be shown while it is written."""
    return answer_format not in _FOUND_AT_THE_END


def shown_text(text: str, answer_format: str, continued: str = "") -> str:
    """The answer as a reader is shown it: of code and JSON the final answer alone, else all of `continued` and
    `text`.
    """
    if shows_all(answer_format):
        return (continued + text).strip()
    return final_answer(text, answer_format, continued)


def final_answer(text: str, answer_format: str, continued: str = "") -> str:
    """Extract the final answer from `text`.

    `answer_format` boxed: the content of the last complete \\boxed{...}; code: the last code block, which may begin in
    `continued`, the text that this one continues; whole: all of the text, which begins in `continued`; json: the same,
    in the compact form where it is JSON. Otherwise, and if there is none, the whole text.
    """
    if answer_format == "code":
        return last_block(text, continued)
    if answer_format == "whole":
        return (continued + text).strip()
    if answer_format == "json":
        return _compact(continued + text) or _compact(text) or text.strip()
    if answer_format == "boxed":
        start = text.rfind(_BOX)
        while start >= 0:
            content = _braced(text, start + len(_BOX))
            if content is not None:
                return content.strip()
            start = text.rfind(_BOX, 0, start)
    return text.strip()


def last_block(text: str, continued: str = "") -> str:
    """The last fenced code block, closed or not; the whole text if there is none."""
    whole = continued + text if continued.count(_FENCE) % 2 else text
    parts = whole.split(_FENCE)
    if len(parts) < 2:
        return whole.strip()
    block = parts[-2] if len(parts) % 2 else parts[-1]  # an even number of fences closes the last block
    return block.partition("\n")[2].strip("\n")


def _compact(text: str) -> str:
    """Empty where `text` is no JSON text."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))
    except ValueError:
        return ""


def _braced(text: str, start: int) -> str | None:
    """Text from `start` to the brace that closes the one before `start`; None if it is never closed."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index]
    return None
