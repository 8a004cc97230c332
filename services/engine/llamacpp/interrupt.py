"""The end of a pass of llama.cpp in its middle, on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np

_TENSOR_BYTES = 1024  # more than the struct has


class LlamaInterrupt:
    """llama.cpp asks a C function after each operation of a pass whether to go on. One of Python would wait for the interpreter.

    So that it need not, the function is `ggml_is_empty`: has this tensor a dimension of 0? The tensor is memory full of ones,
    until a pass shall end. `set` may be called from any thread.
    """

    def __init__(self, interface: Any, library: Any) -> None:
        self._tensor = np.ones(_TENSOR_BYTES // 8, np.int64)
        self.function = interface.cast("void *", library.ggml_is_empty)
        self.argument = interface.cast("void *", self._tensor.ctypes.data)

    def set(self) -> None:
        self._tensor[:] = 0

    def clear(self) -> None:
        self._tensor[:] = 1
