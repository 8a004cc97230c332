"""A model compiled ahead for this processor, as int8 code of its own, in a file beside its weights.

`python -m services.engine.compiled MODEL_FOLDER` makes it (`tandem models compile` calls that): PyTorch's AOTInductor
fuses what surrounds the products, chooses kernels by measuring them, and needs a C++ compiler and some minutes. An engine that
finds the file loads it in a second. It belongs to one version of this code and of torch, one kind of processor, one
number of threads and one set of weights; an engine that differs leaves it alone and says why.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

from services.engine import int8, model, ragged

FILE, MARK = "compiled.pt2", "compiled.json"
_SAMPLES, _SAMPLE_BYTES = 64, 4096
_EXAMPLE = 32  # tokens of the pass that kernels are chosen by
_log = logging.getLogger(__name__)


def compile_model(folder: Path, dtype: str, threads: int) -> None:
    """Write FILE and, last, MARK into `folder`. Raises OSError where there are no weights, RuntimeError where the processor has
    no int8 products."""
    if not int8.is_supported():
        raise RuntimeError("this processor has no int8 products to compile for")
    torch.set_num_threads(threads)
    loaded = model.load(folder, dtype, torch.device("cpu")).requires_grad_(False)
    int8.quantize(loaded, packs=False)
    tokens, ends = (torch.export.Dim(name, min=1, max=1 << 20) for name in ("tokens", "ends"))
    ids = torch.zeros((1, _EXAMPLE), dtype=torch.long)
    partial = folder / f".{FILE}"
    with torch.no_grad():
        exported = torch.export.export(
            model.Writer(loaded),
            (ids, torch.arange(_EXAMPLE)[None], torch.arange(_EXAMPLE)),
            dynamic_shapes={"ids": {1: tokens}, "positions": {1: tokens}, "ends": {0: ends}},
        )
        torch._inductor.aoti_compile_and_package(
            exported,
            package_path=str(partial),
            inductor_configs={"freezing": True, "max_autotune": True, "cpp.dynamic_threads": True},
        )
    (folder / MARK).unlink(missing_ok=True)
    partial.chmod(0o644)
    partial.rename(folder / FILE)
    (folder / MARK).write_text(json.dumps(_circumstances(folder, dtype, threads), indent=2) + "\n")


def load_compiled(folder: Path, dtype: str, threads: int) -> model.Logits | None:
    """What `compile_model` made of these weights for this process; None where there is nothing that fits."""
    if reason := why_not(folder, dtype, threads):
        _log.warning("%s runs uncompiled: %s", folder.name, reason)
        return None
    package = torch._inductor.aoti_load_package(str(folder / FILE))
    return lambda *inputs: package(*inputs)


def why_not(folder: Path, dtype: str, threads: int) -> str:
    """Empty where `folder` holds a compiled model for this process, else the reason and the next step."""
    mark = folder / MARK
    if not mark.is_file():
        return f"it was not compiled; `tandem models compile {folder.name}` makes it several times as fast"
    made, now = json.loads(mark.read_text()), _circumstances(folder, dtype, threads)
    if differing := [name for name in now if made.get(name) != now[name]]:
        return f"it was compiled for other {', '.join(differing)}; `tandem models compile {folder.name}` makes it anew"
    return ""


def _circumstances(folder: Path, dtype: str, threads: int) -> dict[str, Any]:
    processor = {name: value for name, value in torch.cpu.get_capabilities().items() if not name.startswith("num_")}
    sources = [Path(str(module.__file__)) for module in (int8, model, ragged, sys.modules[__name__])]
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": _digest(json.dumps(processor, sort_keys=True).encode()),
        "code": _digest(*(source.read_bytes() for source in sources)),
        "weights": _digest_of_weights(folder),
        "dtype": dtype,
        "threads": threads,
    }


def _digest_of_weights(folder: Path) -> str:
    """Of the files' sizes and of samples spread over them: gigabytes take too long at each start."""
    parts: list[bytes] = []
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        parts.append(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for sample in range(_SAMPLES):
                stream.seek(sample * max(0, size - _SAMPLE_BYTES) // max(1, _SAMPLES - 1))
                parts.append(stream.read(_SAMPLE_BYTES))
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


if __name__ == "__main__":
    compile_model(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
