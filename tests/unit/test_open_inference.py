"""The worker calls a KServe model without what serves one."""

from __future__ import annotations

import subprocess
import sys

from kserve.protocol.grpc import grpc_predict_v2_pb2

from workflows.activities import grpc_predict_v2_pb2 as oip


def test_the_worker_starts_without_kserves_server_libraries() -> None:
    check = "import sys, workflows.worker; sys.exit(any(n in sys.modules for n in ('kserve', 'pandas', 'fastapi')))"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def test_the_messages_are_those_of_kserve() -> None:
    assert oip.ModelInferRequest.DESCRIPTOR is grpc_predict_v2_pb2.ModelInferRequest.DESCRIPTOR
