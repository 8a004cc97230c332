"""Running a language model: the Engine protocol and its back ends. Knows nothing of gRPC, Redis or Temporal.

Several model processes share the cores of one machine. An OpenMP thread that spins while it waits takes a core from the
other processes; one that sleeps needs 50 microseconds to wake up, hundreds of times per token. So a waiting thread
spins for some ten microseconds and then sleeps (docs/results.md compares the three). Libraries read such variables
once, when they are first imported, so they are set here; each program that starts a model process sets the same values.
"""

import os

SPIN_COUNT = "2000"
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
