"""docs/settings.md: the settings of each process, from the fields that it reads. `make tables` writes it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
# Heading, what it says, and the class whose fields are read.
PROCESSES = (
    ("Every process", "", "services.shared.process.settings:ProcessSettings"),
    ("Traces and logs", "Every process.", "services.shared.observability.tracing:TelemetrySettings"),
    (
        "Certificates",
        "Every process ([Security](security.md#between-the-processes)).",
        "services.shared.process.transport:TransportSettings",
    ),
    ("Redis", "Gateway, worker and the models' services.", "services.shared.process.redis:RedisSettings"),
    ("Gateway", "", "services.gateway.__main__:GatewaySettings"),
    ("Who may call", "The gateway.", "services.shared.identity.authentication:IdentitySettings"),
    ("HTTP gateway", "", "services.http_gateway.__main__:HttpGatewaySettings"),
    ("Worker", "", "workflows.worker:WorkerSettings"),
    (
        "The models' services",
        "Insight generator, sufficiency scorer and executor.",
        "services.models.settings:ModelServiceSettings",
    ),
    ("Sufficiency scorer", "", "services.sufficiency_scorer.__main__:ScorerSettings"),
    ("Answer checker", "", "services.answer_checker.checker:CheckerSettings"),
)
HEAD = """<!-- Written by `make tables` from the code. -->

# Settings

Every process reads its settings from its environment at its start, and ends with the variable's name if a value is wrong. An empty value
counts as none. Durations are seconds. `tandem up` passes your environment on; the chart has a value for most settings, or `extraEnv`.

Gateway and worker also read Temporal's variables: `TEMPORAL_ADDRESS` (`127.0.0.1:7233`), `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, `TEMPORAL_TLS`,
`TEMPORAL_TLS_SERVER_CA_CERT_PATH`, `TEMPORAL_TLS_CLIENT_CERT_PATH`, `TEMPORAL_TLS_CLIENT_KEY_PATH`, `TEMPORAL_TLS_SERVER_NAME`. The engine
`openai` reads `OPENAI_BASE_URL` and `OPENAI_API_KEY`.

## Command line

`TANDEM_ADDRESS` (the gateway), `TANDEM_API_KEY`, `TANDEM_CA_FILE`, `TANDEM_PROFILE`, `TANDEM_MODELS`, `TANDEM_STATE` (the local stack's folder),
`TANDEM_BIN` (programs), `TANDEM_ENGINE`, `TANDEM_JAEGER`; `TANDEM_API_KEYS` and `TANDEM_TENANTS` for `tandem keys` and `tandem tenants`.

`config.toml` in your settings folder (`~/.config/tandem` on Linux, or the file `TANDEM_CONFIG`; `tandem doctor` prints it) has the same names in lower case
without `TANDEM_`, and defaults of `tandem ask` and `tandem chat`: `threshold`, `max_cost`, `max_llm_tokens`, `max_tokens`, `temperature`, `tenant`, `verbose` and
`quiet`. An option overrides a variable, a variable the file:

```toml
address = "https://tandem.example.com:50051"
profile = "qwen2.5-coder-1.5b-0.5b"
max_cost = 0.01
threshold = ["0=0.9", "1=0.8"]
```
"""  # noqa: E501


def render() -> str:
    return "\n".join([HEAD, *(line for section in PROCESSES for line in _section(*section))])


def own_fields(path: str) -> dict[str, FieldInfo]:
    """The fields of a class of settings that it does not have from another."""
    module, _, name = path.partition(":")
    settings: type[BaseSettings] = getattr(importlib.import_module(module), name)
    fields: dict[str, FieldInfo] = settings.model_fields
    return {name: fields[name] for name in settings.__annotations__ if name in fields}


def names(field: FieldInfo) -> list[str]:
    """Of the variable; the first that is set counts."""
    alias = field.validation_alias
    found = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return [str(each) for each in found]


def _section(title: str, about: str, path: str) -> Iterator[str]:
    yield f"## {title}\n"
    if about:
        yield f"{about}\n"
    yield "| variable | default | |\n|---|---|---|"
    for field in own_fields(path).values():
        yield f"| {', '.join(f'`{name}`' for name in names(field))} | {_default(field)} | {field.description or ''} |"
    yield ""


def _default(field: FieldInfo) -> str:
    if field.default_factory:
        return ""
    text = _text(field.default)
    return f"`{text}`" if text else ""


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(_text(each) for each in value)
    if isinstance(value, Path):
        return str(value).replace(f"{ROOT}/", "").replace(str(user_cache_path("tandem")), "~/.cache/tandem")
    return "" if value is None else str(value)


if __name__ == "__main__":
    PAGE.write_text(render())
