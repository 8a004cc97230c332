"""Who tokenizes questions keeps nothing of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from services.models.engine.tokenizer import FileTokenizer
from services.models.without_engine import token_counter
from tandem.method.profile.profile import Model
from tests.fakes import write_tokenizer

_WORDS, _MB = 10_000, 2**20
Read = Callable[[str], object]

READERS: dict[str, Callable[[Path], Read]] = {
    "a gateway": lambda models: token_counter(models, Model(name="model", parameters=1)),
    "an engine": lambda models: FileTokenizer.load(models / "model").encode,
    "an engine, of a question": lambda models: partial(FileTokenizer.load(models / "model").encode, plain=True),
}


@pytest.mark.parametrize("reader", READERS)
def test_memory_does_not_grow_with_words_that_were_never_seen_before(tmp_path: Path, reader: str) -> None:
    write_tokenizer(tmp_path / "model")
    read, process = READERS[reader](tmp_path), psutil.Process()
    read(_word(0))
    before = process.memory_info().rss
    for number in range(_WORDS):
        read(_word(number))
    assert process.memory_info().rss - before < 20 * _MB


def _word(number: int) -> str:
    """250 letters, some 8 kB where the library keeps them."""
    return f"{number:06d}".ljust(250, "x")
