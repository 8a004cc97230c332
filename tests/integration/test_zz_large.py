import pytest

from tests.integration.test_vendor_failures import *
from tests.integration.test_zz_scratch import CASES

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
async def test_rows_large(redis_url, temporal_address, tmp_path, protocol):
    async with vendor_of(protocol, tmp_path, redis_url, temporal_address) as vendor:
        for name, answers in CASES.items():
            if name == "429 after 30":
                continue
            for stream in (False, True):
                vendor.fails(*answers)
                before = vendor.small_wrote
                got = await asked(vendor, protocol, stream=stream, model=f"scripted-fails-{protocol}/large")
                print(
                    f"\nROW /large {protocol:9} {name:12} {'stream' if stream else 'whole':6} -> {got.status} {got.kind:22} retry-after={got.headers.get('retry-after')} {got.seconds:.1f}s asked={vendor.asked} small={vendor.small_wrote - before} {got.message[:170]!r}",
                    flush=True,
                )
