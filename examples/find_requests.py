"""Find requests by cost and tenant, and sum what they cost: python examples/find_requests.py "What is 12 * 17?" """

from __future__ import annotations

import sys
import time

from tandem import Client

TENANT = "examples-search"
PATIENCE_SECONDS = 10.0


def main(question: str) -> None:
    with Client() as client:
        asked = client.ask(question, tenant=TENANT)

        # Temporal indexes a request a moment after its end.
        where = f"tenant = {TENANT} and cost > 0"
        give_up = time.monotonic() + PATIENCE_SECONDS
        found = client.list(where).requests
        while asked.request_id not in {row.request_id for row in found} and time.monotonic() < give_up:
            time.sleep(0.2)
            found = client.list(where).requests

        for row in found:
            saved = f"{row.saved_ratio:+.0%} saved" if row.HasField("saved_ratio") else "no saving is counted"
            print(f"{row.request_id}   stage {row.stage}   {row.usd:.8f} USD   {saved}")
        print(f"{len(found)} requests, {sum(row.usd for row in found):.8f} USD")
        expensive = client.list(f"tenant = {TENANT} and cost > 0.01 and saved < 0", limit=100).requests
        print(f"{len(expensive)} of them cost more than a cent and more than the large model alone")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "What is 12 * 17?")
