"""One request is one trace, from the client to the engines."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.integration.asking import BOUND_SECONDS, ask, generated
from tests.integration.conftest import SPANS, System

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_one_request_is_one_trace_from_client_to_engine(system: System) -> None:
    result = await ask(system, "[scores=16:0.9 llm=cucumber_ slm=pelican_ slm_eos=9] walrus")
    assert "pelican" in result["reasoning"]
    deadline, orphans = time.monotonic() + BOUND_SECONDS, ["?"]
    while orphans and time.monotonic() < deadline:  # a span is exported when it ends, parents after their children
        await asyncio.sleep(0.02)
        spans = [s for s in SPANS.get_finished_spans() if f"{s.context.trace_id:032x}" == result["trace_id"]]
        ids = {span.context.span_id for span in spans}
        orphans = [span.name for span in spans if span.parent and span.parent.span_id not in ids]
    others = [s for s in SPANS.get_finished_spans() if s not in spans]
    names = {span.name for span in spans}
    assert not [s for s in others if (s.attributes or {}).get("tandem.request.id") == result["request_id"]]
    assert names >= {"chat scripted-llm", "chat scripted-slm", "evaluate scripted-slm"}
    assert orphans == []
    [root] = [
        span
        for span in spans
        if span.name == "/tandem.v1.TandemService/Solve" and "tandem.cost.total" in (span.attributes or {})
    ]
    assert root.attributes is not None
    assert root.attributes["tandem.cost.total"] == pytest.approx(result["cost"]["usd"])
    llm = next(span for span in spans if span.name == "chat scripted-llm")
    assert llm.attributes is not None
    assert llm.attributes["gen_ai.usage.output_tokens"] == generated(result["usage"]["llm"])
    exported = "".join(span.to_json() for span in spans)
    assert [word for word in ("walrus", "cucumber", "pelican") if word in exported] == []
