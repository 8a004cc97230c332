"""Run compiled code in a process that may die of it: `python -m services.engine.torch_engine.probe CODE_FOLDER THREADS`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from services.engine.loop.chunk import Chunk
from services.engine.torch_engine.compiled import open_code
from services.engine.torch_engine.kv_cache import KVCache
from services.engine.torch_engine.varlen import forward_varlen

_LENGTHS = (1, 64)  # the code may have other instructions for many rows than for one


def main(code: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    logits = open_code(code)
    with torch.inference_mode():
        for length in _LENGTHS:
            chunk = Chunk(0, 0, length)
            forward_varlen(logits, KVCache(), [chunk], [0] * length, torch.device("cpu"), torch.tensor([length - 1]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
