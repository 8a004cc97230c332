"""How many tokens a question has, where no engine runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tokenizers import Tokenizer

from services.engine.tokenizer import keep_no_words
from tandem.errors import SetupError


def token_counter(models_folder: Path, model: str) -> Callable[[str], int]:
    """Counts tokens with the model's tokenizer; raises SetupError when the model's files are not there."""
    file = models_folder / model / "tokenizer.json"
    if not file.is_file():
        raise SetupError(f"{file} is missing; `tandem models pull` gets it")
    tokenizer = Tokenizer.from_file(str(file))
    keep_no_words(tokenizer)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
