"""Running a language model: the Engine protocol and its back ends. Knows nothing of gRPC, Redis or Temporal.

Several model processes share the cores of a laptop. A waiting OpenMP thread that spins takes a core from the others,
so waiting is made passive here, before torch is imported for the first time.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
