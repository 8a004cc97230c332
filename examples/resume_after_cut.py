"""Leave a running request and join it again under the same id; it is paid for once.

The client reconnects by itself when a connection breaks. This is what to do when the whole program ends:
python examples/resume_after_cut.py "What is 12 * 17?"
"""

from __future__ import annotations

import sys
from contextlib import closing
from uuid import uuid4

from tandem import Client
from tandem.client.events import InsightDelta


def main(question: str) -> None:
    request_id = f"example-{uuid4().hex}"  # store it with your order, ticket or job

    # keep_running: the request goes on without a client. Without it, leaving the loop cancels the request.
    with Client() as client, closing(client.solve(question, request_id=request_id, keep_running=True)) as events:
        for event in events:
            if isinstance(event, InsightDelta):
                print(f"left after {event.tokens} tokens of the insight")
                break

    with Client() as client:
        joined = client.ask(question, request_id=request_id)  # joins the running request, or returns its result
        again = client.ask(question, request_id=request_id)  # it has ended: the same result
        stored = client.get(request_id).result

    assert joined.cost.usd == again.cost.usd == stored.cost.usd
    print(f"answer {joined.answer!r}, paid once: {joined.cost.usd:.8f} USD")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "What is 12 * 17?")
