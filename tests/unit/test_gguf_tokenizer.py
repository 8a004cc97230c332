"""A GGUF file's tokenizer is read without transformers, and splits every text as transformers' own reading of the file
does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from gguf import GGUFWriter, TokenType
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from services.models.engine.llamacpp.gguf import RULES, UnknownTokenizer, write_tokenizer
from services.models.engine.tokenizer import ChatTokenizer, FileTokenizer
from tandem.gguf_metadata import read_metadata

CONTROL, ADDED, UNUSED = "<|endoftext|>", "<think>", "[PAD 7]"
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|endoftext|>{% endfor %}"


@cache
def trained() -> tuple[list[str], list[str]]:
    """Vocabulary, and merges, of a byte-level BPE that has read this repository's documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    texts = [path.read_text() for path in sorted(Path("docs").glob("*.md"))]
    tokenizer.train_from_iterator(texts, trainer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [word for word, _ in words], [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]


def write_gguf(file: Path, pre: str, *, model: str = "gpt2") -> Path:
    tokens, merges = trained()
    tokens = [*tokens, CONTROL, ADDED, UNUSED]
    kinds = [TokenType.NORMAL] * (len(tokens) - 3) + [TokenType.CONTROL, TokenType.USER_DEFINED, TokenType.CONTROL]
    writer = GGUFWriter(file, "qwen2")
    for name in ("context_length", "embedding_length", "block_count", "feed_forward_length", "head_count"):
        getattr(writer, f"add_{name}")(8)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokens.index(CONTROL))
    writer.add_chat_template(TEMPLATE)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.fixture(scope="module", params=sorted(RULES.keys() - {"smollm"}))
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[FileTokenizer, Any]:
    """The tokenizer that is written, and the one that transformers reads from the same file."""
    folder = tmp_path_factory.mktemp(request.param)
    file = write_gguf(folder / "some.gguf", request.param)
    write_tokenizer(file, folder / "written")
    return FileTokenizer.load(folder / "written"), AutoTokenizer.from_pretrained(folder, gguf_file=file.name)


# transformers composes characters only in a class that says so; Qwen's own tokenizer does.
TEXTS = st.text(max_size=80) | st.text(alphabet="aZé3 \n\t'sl.,(<|endoftext|>)think中🙂٣", max_size=80)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS.map(lambda text: normalize("NFC", text)))
def test_a_text_is_split_as_transformers_splits_it(both: tuple[FileTokenizer, Any], text: str) -> None:
    written, reference = both
    assert written.encode(text) == reference(text, add_special_tokens=False).input_ids


def test_vocabulary_template_and_special_tokens_are_the_files(both: tuple[FileTokenizer, Any]) -> None:
    written, reference = both
    assert written.sha256 == ChatTokenizer(reference).sha256
    assert written.render_chat([("user", "why?")]) == "user: why?<|endoftext|>"
    end, think, unused = (len(written.encode(text)) for text in (CONTROL, ADDED, UNUSED))
    assert (end, think) == (1, 1)
    assert unused > 1
    assert len(written.encode(CONTROL, plain=True)) > 1


def test_smollm_has_one_word_a_digit(tmp_path: Path) -> None:
    """As llama.cpp and the model's authors have it; transformers reads such a file with GPT-2's rule."""
    write_tokenizer(write_gguf(tmp_path / "some.gguf", "smollm"), tmp_path)
    assert len(FileTokenizer.load(tmp_path).encode("20262026")) == 8


def test_another_kind_of_tokenizer_is_named(tmp_path: Path) -> None:
    for number, (pre, kind) in enumerate((("qwen2", "llama"), ("somebodys", "gpt2"))):
        with pytest.raises(UnknownTokenizer, match=f"'{kind}'.*'{pre}'"):
            write_tokenizer(write_gguf(tmp_path / f"{number}.gguf", pre, model=kind), tmp_path)


def test_a_file_that_ends_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "some.gguf", "qwen2").read_bytes()
    assert read_metadata(tmp_path / "some.gguf")["tokenizer.ggml.pre"] == "qwen2"
    cut = tmp_path / "cut.gguf"
    for size in (*range(1, 200, 7), *range(200, len(whole) - 64, 4999)):
        cut.write_bytes(whole[:size])
        with pytest.raises(OSError, match="no readable GGUF file"):
            read_metadata(cut)


def test_reading_a_tokenizer_imports_neither_torch_nor_transformers() -> None:
    check = (
        "import sys, services.models.engine.llamacpp.gguf; sys.exit(any(n in sys.modules for n in ('torch', "
        "'transformers', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
