"""Convert a GGUF file into a folder in Hugging Face layout, which an engine of transformers loads in seconds.

Run as `python -m services.engine.llamacpp.convert GGUF FOLDER`. Dequantising needs several times the file's size in memory, and a process
of its own returns all of it. With `--tokenizer-only` the weights stay in the file, for llama.cpp.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def convert(gguf: Path, folder: Path) -> None:
    """Write `gguf` as bfloat16 safetensors, with its tokenizer and chat template, into `folder`.

    Raises OSError where transformers cannot read the file.
    """
    write_tokenizer(gguf, folder)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(folder)


def write_tokenizer(gguf: Path, folder: Path) -> None:
    """Raises OSError where transformers cannot read the file."""
    folder.mkdir(parents=True, exist_ok=True)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(folder)
    # What transformers adds to such a tokenizer when it loads it (a normalizer) is then in the file too.
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
