"""A model compiled ahead of time for this processor, as int8 code in a folder beside the weights.

`python -m services.engine.torch_engine.compiled MODEL_FOLDER DTYPE THREADS` compiles it (`tandem models compile` calls that). PyTorch's
AOTInductor generates matrix products for few rows and for many, fuses the operations between them, and needs a C++ compiler
and some minutes. An engine loads the code in a second or two. The code belongs to one version of torch and of the sources
in `_SOURCES`, one kind of processor, one number of threads and one set of weights. An engine that differs does not load it
and logs the reason. Nor does it load code that kills a process: a child process runs new code first (`--probe CODE_FOLDER THREADS`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import torch
import transformers

from services.engine.loop.runner import Chunk
from services.engine.settings import code_folder
from services.engine.torch_engine import int8, model, varlen
from services.engine.torch_engine.kv_cache import KVCache
from services.engine.torch_engine.varlen import forward_varlen

_MARK = "tandem.json"
_PROBED = "probed"  # holds the digest of the mark of the code that the probe has run
_SOURCES = (int8, model, varlen, sys.modules[__name__])  # what the exported graph and its calling convention depend on
_EXAMPLE = 32  # tokens of the pass for which the compiler chooses the blocks of its matrix products
_SAMPLES, _SAMPLE_BYTES = 64, 4096
_PROBE_LENGTHS = (1, 64)  # the code may have other instructions for many rows than for one
_log = logging.getLogger(__name__)


def compile_model(folder: Path, dtype: str, threads: int) -> None:
    """Write `code_folder`, which appears when it is complete. Raises OSError where `folder` has no weights."""
    torch.set_num_threads(threads)
    loaded = model.load(folder, dtype, torch.device("cpu")).requires_grad_(False)
    int8.quantize(loaded, packs=False)
    partial = folder / f".compiled-{threads}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    archive = _compile(model.LogitsModel(loaded), partial / "code.pt2")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(partial)  # an unpacked folder loads faster than the archive
    archive.unlink()
    (partial / _MARK).write_text(json.dumps(_circumstances(folder, dtype), indent=2) + "\n")
    shutil.rmtree(code_folder(folder, threads), ignore_errors=True)
    partial.rename(code_folder(folder, threads))


def _compile(logits: model.LogitsModel, archive: Path) -> Path:
    tokens, ends = (torch.export.Dim(name, min=1, max=1 << 20) for name in ("tokens", "ends"))
    example = torch.arange(_EXAMPLE)
    with torch.no_grad():
        exported = torch.export.export(
            logits,
            (torch.zeros_like(example)[None], example[None], example),
            dynamic_shapes={"ids": {1: tokens}, "positions": {1: tokens}, "ends": {0: ends}},
        )
        torch._inductor.aoti_compile_and_package(
            exported,
            package_path=str(archive),
            # Not oneDNN's products: at few rows they reach half of the memory's bandwidth.
            inductor_configs={"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "CPP"},
        )
    return archive


def load_compiled(folder: Path, dtype: str, threads: int) -> model.Logits | None:
    """The code that was compiled of these weights for this process; None where there is none, and the reason is logged."""
    code = code_folder(folder, threads)
    reason = _why_not(folder, dtype, code)
    if reason:
        reason += "; `tandem models compile` helps"
    elif reason := _probe(code, threads):
        reason += "; this is a defect of the compiled code, please report it with the processor's name"
    if reason:
        _log.warning("%s runs uncompiled, which is slower: %s", folder.name, reason)
        return None
    return open_code(code)


def open_code(code: Path) -> model.Logits:
    """Load what `compile_model` wrote to `code`."""
    if torch.cpu.get_capabilities().get("amx_tile") and hasattr(torch.cpu, "_init_amx"):
        torch.cpu._init_amx()  # a process that uses AMX without asking the kernel first is killed by SIGILL
    [unpacked] = (path.parent for path in code.glob("*/data"))
    package = torch._inductor.aoti_load_package(str(unpacked))
    return lambda *inputs: package(*inputs)


def probe_command(code: Path, threads: int) -> list[str]:
    return [sys.executable, "-m", "services.engine.torch_engine.compiled", "--probe", str(code), str(threads)]


def _probe(code: Path, threads: int) -> str:
    """How a child process that runs the code fails; empty where it succeeds, which is recorded and not tried again."""
    digest, record = _digest((code / _MARK).read_bytes()), code / _PROBED
    if record.is_file() and record.read_text() == digest:
        return ""
    done = subprocess.run(probe_command(code, threads), capture_output=True, text=True)
    if done.returncode < 0:
        return f"{code.name} killed the process that tried it ({signal.Signals(-done.returncode).name})"
    if done.returncode:
        return f"{code.name} failed when it was tried ({(done.stderr.strip().splitlines() or ['no message'])[-1]})"
    with contextlib.suppress(OSError):  # a read-only folder has no record, and its code is tried at each start
        record.write_text(digest)
    return ""


def _why_not(folder: Path, dtype: str, code: Path) -> str:
    """Why `code` does not belong to this process; empty where it does."""
    mark = code / _MARK
    if not mark.is_file():
        return f"there is no {code.name}"
    then, now = json.loads(mark.read_text()), _circumstances(folder, dtype)
    differing = [name for name in now if then.get(name) != now[name]]
    return f"{code.name} was compiled for other {', '.join(differing)}" if differing else ""


def _circumstances(folder: Path, dtype: str) -> dict[str, Any]:
    processor = {name: value for name, value in torch.cpu.get_capabilities().items() if not name.startswith("num_")}
    return {
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": _digest(json.dumps(processor, sort_keys=True).encode()),
        "code": _digest(*(Path(str(source.__file__)).read_bytes() for source in _SOURCES)),
        "weights": _digest_of_weights(folder),
        "dtype": dtype,
    }


def _digest_of_weights(folder: Path) -> str:
    """Of the files' sizes and of samples from all over them: reading gigabytes at each start would take too long."""
    parts: list[bytes] = []
    for file in sorted(folder.glob("*.safetensors")):
        size = file.stat().st_size
        parts.append(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            for sample in range(_SAMPLES):
                stream.seek(sample * max(0, size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                parts.append(stream.read(_SAMPLE_BYTES))
    return _digest(*parts)


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def main(folder: Path, dtype: str, threads: int) -> None:
    """Compile, unless the code that is there is what compiling would produce; then try it."""
    if not int8.is_supported():
        raise SystemExit(int8.NEEDS)
    code = code_folder(folder, threads)
    if _why_not(folder, dtype, code):
        compile_model(folder, dtype, threads)
    if reason := _probe(code, threads):
        raise SystemExit(reason)


def probe(code: Path, threads: int) -> None:
    """Run the code, in a process that may die of it."""
    torch.set_num_threads(threads)
    logits = open_code(code)
    with torch.inference_mode():
        for length in _PROBE_LENGTHS:
            chunk = Chunk(0, 0, length)
            forward_varlen(logits, KVCache(), [chunk], [0] * length, torch.device("cpu"), torch.tensor([length - 1]))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--probe", code, threads]:
            probe(Path(code), int(threads))
        case [folder, dtype, threads]:
            main(Path(folder), dtype, int(threads))
        case _:
            raise SystemExit(__doc__)
