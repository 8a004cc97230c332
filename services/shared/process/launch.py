"""Run a process with the garbage collector off until it is imported: `python -m services.shared.process.launch MODULE`.

What an import makes lives as long as the process, and each collection looks at all of it: a seventh of the imports'
time.
"""

from __future__ import annotations

import gc
import runpy
import sys

if __name__ == "__main__":
    gc.disable()  # services.shared.process.start turns it on again
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
