"""The same question under four limits, and what each costs: python examples/budget_and_thresholds.py "What is 12 *
17?"
"""

from __future__ import annotations

import sys

from tandem import Client, RequestError


def main(question: str) -> None:
    with Client() as client:
        full = client.ask(question)
        print(f"profile's thresholds    {full.cost.usd:.8f} USD, stage {full.stop.stage}")

        # Stage 1 is always sufficient; the other stages keep their thresholds.
        early = client.ask(question, thresholds={1: 0.0})
        print(f"stop after stage 1      {early.cost.usd:.8f} USD, stage {early.stop.stage}")

        # The large model is never called.
        alone = client.ask(question, max_llm_tokens=0)
        print(f"small model only        {alone.cost.usd:.8f} USD, stage {alone.stop.stage}")

        # An upper bound of the bill: only the stages that fit it are planned.
        bound = 2 * alone.cost.usd
        try:
            cheap = client.ask(question, max_cost_usd=bound)
            assert cheap.cost.usd <= bound
            print(f"at most {bound:.8f} USD   {cheap.cost.usd:.8f} USD, stage {cheap.stop.stage}")
        except RequestError as error:  # it does not pay for the question and a short answer
            print(f"at most {bound:.8f} USD   {error.reason}: {error}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "What is 12 * 17?")
