"""Ask one question and print the answer and its bill: python examples/ask.py "What is 12 * 17?" """

from __future__ import annotations

import sys

from tandem import Client, RequestError, to_dict


def main(question: str) -> None:
    with Client() as client:  # TANDEM_ADDRESS, or the local stack
        result = client.ask(question, tenant="examples")

    bill = to_dict(result)  # the keys of `tandem ask --json`
    print(f"answer   {result.answer}")
    print(f"stop     {bill['stop']['reason']} at stage {bill['stop']['stage']}")
    for role, usage in bill["usage"].items():
        generated = usage["output_tokens"] + usage["overrun_tokens"] + usage["discarded_tokens"]
        print(f"{role:8} {usage['input_tokens']} prompt, {usage['cached_input_tokens']} cached, {generated} generated")
    cost = result.cost
    saved = f"{cost.saved_ratio:+.0%} saved" if cost.HasField("saved_ratio") else "no saving is counted"
    print(f"bill     {cost.usd:.8f} USD, {saved}")


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "What is 12 * 17?")
    except RequestError as error:
        sys.exit(f"{error.code.name} {error.reason}: {error}")
