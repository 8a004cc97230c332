"""Examples, which `tandem VERB --help` ends with."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "ask": (
        "tandem ask --code - < examples/running_total.txt",
        'tandem ask "What is 12 * 17?"',
        'tandem ask -v "What is 12 * 17?"',
        'tandem ask "What does this do?" < examples/stream.py',
        'tandem ask --max-cost 0.001 --threshold 1=0.6 "..."',
        'tandem ask --json "..." | jq .cost',
    ),
    "chat": (
        "tandem chat",
        "tandem chat -c",
        'tandem chat --system "Answer in one sentence." --threshold 0.6',
        "tandem chat --json < questions.txt | jq .answer",
    ),
    "request get": ("tandem request get REQUEST", "tandem request get REQUEST --json | jq .result.cost"),
    "request list": (
        'tandem request list --where "cost > 0.01 and stage = 2"',
        "tandem request list --limit 100 --json",
    ),
    "request cancel": ("tandem request cancel REQUEST",),
    "request delete": ("tandem request delete REQUEST",),
    "request follow": ("tandem request follow $(tandem ask --detach '...')",),
    "outcome": ("tandem outcome REQUEST right", "tandem outcome REQUEST 0.7 --json | jq .policy"),
    "promises": ("tandem promises", "tandem promises --tenant acme --json"),
    "batch run": (
        "tandem batch run questions.jsonl --out answers.jsonl --max-cost 2",
        "tandem batch run questions.jsonl --out answers.jsonl --concurrency 32 --json | jq .usd",
    ),
    "batch follow": ("tandem batch follow BATCH --out answers.jsonl",),
    "batch status": ("tandem batch status BATCH", "tandem batch status BATCH --json | jq .counts"),
    "batch cancel": ("tandem batch cancel BATCH",),
    "batch list": ("tandem batch list", "tandem batch list --limit 100 --json"),
    "prices": ("tandem prices claude", "tandem prices gpt-4o-mini --json", "tandem prices --update"),
    "profile new": (
        "tandem profile new --large anthropic:claude-sonnet-4-5 --small http://127.0.0.1:11434/v1#qwen2.5-coder:7b",
        "tandem profile new --large openai:gpt-4o --small openai:gpt-4o-mini --name mine",
        "tandem profile new --large http://10.0.0.5:8000/v1#qwen-32b --large-price 0.4/1.2 --small llamacpp:small.gguf",
    ),
    "profile check": ("tandem profile check mine", "tandem profile check mine --json | jq .ok"),
    "profiles": ("tandem profiles", "tandem profiles --json | jq .default_profile"),
    "up": (
        "tandem up",
        "tandem up --large openai:gpt-4o --small http://127.0.0.1:8081/v1#qwen2.5-coder-7b",
        "tandem up --jaeger",
        "tandem up --tls",
        "tandem up --profile fast --profile strong",
        "tandem up --profile mine --lose-at-most 3%",
        "TANDEM_STATE=/tmp/second tandem up",
    ),
    "down": ("tandem down",),
    "status": ("tandem status", "tandem status --json | jq .processes"),
    "logs": ("tandem logs", "tandem logs worker --follow", "tandem logs gateway --lines 100"),
    "models pull": (
        "tandem models pull",
        "tandem models pull --engine transformers",
        "tandem models pull --profile qwen2.5-coder-1.5b-0.5b --only slm --tokenizer-only",
    ),
    "models wait": ("tandem models wait --only llm",),
    "models list": ("tandem models list",),
    "trace cost": (
        "tandem trace cost REQUEST",
        "tandem trace cost --last 50 --by tenant",
        "tandem trace cost REQUEST --svg tree.svg",
    ),
    "plan": (
        "tandem plan --small 0.77 --large 0.81 --price-ratio 4.6 --auroc 0.7",
        "tandem plan --small 0.51 --large 0.67 --price-ratio 8 --check-share 0.8",
    ),
    "collect": (
        "tandem collect mine.jsonl",
        "tandem collect math_train --n 200",
        "tandem collect requests.jsonl --profile PROFILE",
    ),
    "train": ("tandem train collected/PROFILE/mine.parquet",),
    "calibrate": ("tandem calibrate collected/PROFILE/mine.parquet --below 0.01 --cost usd --write",),
    "disputes": ("tandem disputes mine.jsonl", "tandem disputes mine.jsonl --take r17=left --json"),
    "eval": (
        "tandem eval --data mine.jsonl",
        "tandem eval --data gsm8k --n 100 --methods tandem,llm,slm --json figures.json",
        "tandem eval --data mine.jsonl --through-batch --max-cost 2",
    ),
    "check": ("tandem check", "tandem check --jaeger http://127.0.0.1:16686"),
    "keys create": ("tandem keys create acme", "tandem keys create operations --role admin --file keys.json"),
    "keys list": ("tandem keys list", "tandem keys list --json"),
    "keys revoke": ("tandem keys revoke KEY",),
    "tenants list": ("tandem tenants list", "tandem tenants list --json"),
    "tenants show": ("tandem tenants show acme",),
    "tenants set": (
        "tandem tenants set acme requests_per_minute=60 usd_per_day=5 profiles=qwen2.5-coder-1.5b-0.5b",
        "tandem tenants set default concurrent_requests=4",
        "tandem tenants set acme usd_per_day=none",
    ),
    "tenants used": ("tandem tenants used",),
    "tenants check": ("tandem tenants check --file tenants.json",),
    "spend": (
        "tandem spend",
        "tandem spend --by tenant,day --since 2026-11-01",
        "tandem spend --by session",
        "tandem spend --by profile --json",
    ),
    "doctor": ("tandem doctor", "tandem doctor --json | jq .ok"),
    "version": ("tandem version", "tandem --version"),
}


def epilog(command: str) -> str:
    """Return the end of a command's help; empty for a group of commands. The first mark keeps Click from joining the
    lines.
    """
    lines = EXAMPLES.get(command, ())
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)]) if lines else ""
