"""Whatever a caller sends, every method answers in time with a status of its own, and goes on serving others."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hypothesis import strategies as st

from services.sufficiency_scorer.service import NAME as SCORER
from tests.contracts import Method, methods, services
from tests.integration.hostile.bystander import TALLY
from tests.integration.hostile.claims import status_of, tried
from tests.integration.hostile.conftest import Hardy
from tests.integration.hostile.inputs import broken_bytes, messages

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("bystander"),
]
_DEFECTS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""A status that says that the service did not expect this, or did not answer in time."""
METHODS = methods({*services(), SCORER})


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_any_message_gets_a_status_that_the_method_means(target: Hardy, method: Method) -> None:
    await _takes(target, method, messages(method.request).map(lambda message: message.SerializeToString()))


@pytest.mark.parametrize("method", METHODS, ids=str)
async def test_broken_bytes_get_a_status_that_the_method_means(target: Hardy, method: Method) -> None:
    await _takes(target, method, broken_bytes(method.request))


async def _takes(target: Hardy, method: Method, sent: st.SearchStrategy[bytes]) -> None:
    """None of these ends in a status that is a defect."""
    with grpc.insecure_channel(target.address_of(method)) as channel:

        @tried(data=sent)
        def claim(data: bytes) -> None:
            status = status_of(channel, method, data)
            TALLY.count(method.path, is_defect=status in _DEFECTS)
            assert status not in _DEFECTS

        await asyncio.to_thread(claim)
