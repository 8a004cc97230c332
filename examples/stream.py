"""Print every event as it happens, with asyncio: python examples/stream.py "What is 12 * 17?" """

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from tandem import AsyncClient
from tandem.client.events import (
    Accepted,
    AnswerDelta,
    Completed,
    InsightDelta,
    LlmStopped,
    Restarted,
    Scored,
    StageCompleted,
)


async def main(question: str) -> None:
    # aclosing: whoever leaves the loop early cancels the request at once.
    async with AsyncClient() as client, aclosing(client.solve(question, tenant="examples")) as events:
        async for event in events:
            match event:
                case Accepted(request_id=request_id):
                    print(f"[accepted {request_id}]")
                case InsightDelta(text=text) | AnswerDelta(text=text):
                    print(text, end="", flush=True)
                case StageCompleted(stage=stage, tokens=tokens):
                    print(f"\n[stage {stage} after {tokens} tokens]")
                case Scored(stage=stage, score=None):
                    print(f"[stage {stage} was not scored]")
                case Scored(stage=stage, score=score, threshold=threshold):
                    print(f"[stage {stage} scores {score:.3f}, threshold {threshold:.3f}]")
                case LlmStopped(cancel_latency_ms=latency, overrun_tokens=overrun):
                    print(f"[large model stopped after {latency:.1f} ms, {overrun} tokens overrun]")
                case Restarted(tokens=tokens):
                    print(f"\n[restarted: text after {tokens} tokens is void]")
                case Completed(result=result):
                    print(f"\n[completed: {result.answer!r} for {result.cost.usd:.8f} USD]")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "What is 12 * 17?"))
