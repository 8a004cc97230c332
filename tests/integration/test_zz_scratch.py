import pytest

from tests.integration.test_vendor_failures import *

pytestmark = pytest.mark.asyncio(loop_scope="session")
CASES = {
    "401": [refused(401, "invalid x-api-key")] * 9,
    "403": [refused(403, "no access to m")] * 9,
    "400": [refused(400, "prompt is too long: 210000 tokens > 200000 maximum")] * 9,
    "413": [refused(413, "Request exceeds the maximum size")] * 9,
    "429 after 30": [refused(429, "slow down", {"retry-after": "30"})] * 9,
    "429": [refused(429, "slow down")] * 9,
    "429 quota": [refused(429, "You exceeded your current quota", code="insufficient_quota")] * 9,
    "529": [refused(529, "Overloaded")] * 9,
    "500": [refused(500, "Internal server error")] * 9,
    "reset": [RESET] * 9,
}


@pytest.mark.parametrize("protocol", KINDS)
async def test_rows(redis_url, temporal_address, tmp_path, protocol):
    async with vendor_of(protocol, tmp_path, redis_url, temporal_address) as vendor:
        for name, answers in CASES.items():
            for stream in (False, True):
                for tools in (False, True):
                    vendor.fails(*answers)
                    before = vendor.small_wrote
                    got = await asked(vendor, protocol, stream=stream, tools=tools)
                    print(
                        f"ROW {protocol:9} {name:12} {'stream' if stream else 'whole':6} {'tools' if tools else '-':5} -> {got.status} {got.kind:22} retry-after={got.headers.get('retry-after')} {got.seconds:.1f}s asked={vendor.asked} small={vendor.small_wrote - before} {got.message[:170]!r}",
                        flush=True,
                    )
