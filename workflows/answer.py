"""The final answer in a text: the LAST one counts (METHOD 4.7)."""

from __future__ import annotations

_BOX = "\\boxed{"


def final_answer(text: str, answer_format: str) -> str:
    """Content of the last complete \\boxed{...}, or the whole text where there is none or the format asks for none."""
    if answer_format == "boxed":
        start = text.rfind(_BOX)
        while start >= 0:
            content = _braced(text, start + len(_BOX))
            if content is not None:
                return content.strip()
            start = text.rfind(_BOX, 0, start)
    return text.strip()


def _braced(text: str, start: int) -> str | None:
    """Text from `start` to the brace that closes the one before it; None when it is never closed."""
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index]
    return None
