"""Running a language model: the Engine protocol and its back ends. Knows nothing of gRPC, Redis or Temporal.

Several model processes share the cores of a laptop. An OpenMP thread that spins while it waits takes a core from the
others; one that sleeps takes 50 microseconds to wake, hundreds of times a token. So it spins for a moment, some ten
microseconds, and then sleeps. Said here, before torch is imported for the first time (`make bench-busy`).
"""

import os

SPINS = "2000"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
