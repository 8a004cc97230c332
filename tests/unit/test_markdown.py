"""The page's Markdown takes time in proportion to a text, whatever a model writes, and never fails."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

LEXER = Path(__file__).parents[2] / "services/http_gateway/assets/markdown_lexer.js"
SIZE = 40_000
NODE = shutil.which("node")
HOSTILE = [
    "_",
    "a_",
    "_a ",
    "*a **b ",
    ">",
    "> > ",
    "+ ",
    "1. ",
    "[",
    "`a``",
    "$a ",
    "\\(",
    "<a ",
    "\\boxed{",
    "_a\n",
    "> a\n",
    "_a\n\n",
    "a@",
]
PROGRAM = """
const [path, size, pieces] = process.argv.slice(1).map((each, index) => index ? JSON.parse(each) : each);
const { lexer } = await import(path);
const seconds = (text) => {
  const began = process.cpuUsage().user;
  const tokens = lexer(text);
  if (tokens.map((token) => token.raw).join("").trim() !== text.trim()) throw new Error("text is lost");
  return (process.cpuUsage().user - began) / 1e6;
};
const least = (text) => Math.min(...[1, 2, 3].map(() => seconds(text)));
console.log(JSON.stringify(pieces.map((piece) => [1, 2].map((times) => least(piece.repeat(times * size / piece.length))))));
console.log(JSON.stringify(lexer("*a* $x$\\n\\n> b").map((token) => token.type)));
"""
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node.js")


@cache
def measured() -> tuple[dict[str, tuple[float, float]], list[str]]:
    """Seconds of processor time for SIZE characters and for twice as many, by what is repeated; and the tokens of a
    usual text.
    """
    command = [str(NODE), "--input-type=module", "-e", PROGRAM, str(LEXER), str(SIZE), json.dumps(HOSTILE)]
    seconds, usual = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300
    ).stdout.splitlines()
    return {piece: (one, two) for piece, (one, two) in zip(HOSTILE, json.loads(seconds), strict=True)}, json.loads(
        usual
    )


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_hostile_text_twice_as_long_takes_no_more_than_three_times_as_long(piece: str) -> None:
    one, two = measured()[0][piece]
    assert two < max(0.15, 3 * one), (one, two)


def test_a_usual_text_is_still_read_as_markdown() -> None:
    assert measured()[1] == ["paragraph", "space", "blockquote"]
