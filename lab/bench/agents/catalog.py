"""The agents, each in the version that was tried, and how each is told of an endpoint: in its own three lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.bench.agents.script import FILE, task
from tandem.paths import programs_folder

FOLDER = programs_folder().parent / "agents"
KEY = "none"


@dataclass(frozen=True)
class Place:
    """`url` is the gateway's or vendor's, without /v1. `home` is the agent's own, empty before."""

    url: str
    model: str
    small: str
    protocol: str
    home: Path
    work: Path

    @property
    def task(self) -> str:
        return task(self.work)


@dataclass(frozen=True)
class Run:
    arguments: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    """Below `home`."""


@dataclass(frozen=True)
class Agent:
    """`package`: with its version; from npm where it has an @ behind its first letter, else from PyPI. `python`: the
    version that it needs, where this one does not do.
    """

    name: str
    package: str
    program: str
    protocols: tuple[str, ...]
    run: Callable[[Place], Run]
    python: str = ""

    @property
    def is_npm(self) -> bool:
        return "==" not in self.package

    @property
    def folder(self) -> Path:
        return FOLDER / self.name

    @property
    def path(self) -> Path:
        return self.folder / ("node_modules/.bin" if self.is_npm else "bin") / self.program

    @property
    def version(self) -> str:
        return self.package.replace("==", "@").rpartition("@")[2]


def _claude_code(at: Place) -> Run:
    words = ["-p", at.task, "--allowed-tools", "Read,Edit,Write,Bash"]
    return Run(
        words,
        {"ANTHROPIC_BASE_URL": at.url, "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_MODEL": at.model,
         "ANTHROPIC_DEFAULT_HAIKU_MODEL": at.small, "DISABLE_AUTOUPDATER": "1",
         "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"},
    )  # fmt: skip


def _codex(at: Place) -> Run:
    lines = [
        f'model = "{at.model}"', 'model_provider = "tandem"', "[model_providers.tandem]", 'name = "Tandem"',
        f'base_url = "{at.url}/v1"', 'wire_api = "responses"',
    ]  # fmt: skip
    words = ["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", at.task]
    return Run(words, {"CODEX_HOME": str(at.home / ".codex")}, {".codex/config.toml": "\n".join(lines)})


_OPENCODE = {"chat": "@ai-sdk/openai-compatible", "responses": "@ai-sdk/openai", "messages": "@ai-sdk/anthropic"}


def _opencode(at: Place) -> Run:
    options = {"baseURL": f"{at.url}/v1", "apiKey": KEY}
    models: dict[str, Any] = {at.model: {}, at.small: {}}
    provider = {"npm": _OPENCODE[at.protocol], "name": "Tandem", "options": options, "models": models}
    config = {
        "provider": {"tandem": provider}, "model": f"tandem/{at.model}", "small_model": f"tandem/{at.small}",
        "autoupdate": False, "share": "disabled",
    }  # fmt: skip
    variables = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
    return Run(["run", "--auto", at.task], variables, {".config/opencode/opencode.json": json.dumps(config)})


def _cline(at: Place) -> Run:
    provider = {"chat": "openai-compatible", "messages": "anthropic"}[at.protocol]
    base = f"{at.url}/v1"
    settings = {"provider": provider, "apiKey": KEY, "model": at.model, "baseUrl": base}
    entry = {"settings": settings, "updatedAt": "2026-12-01T00:00:00.000Z", "tokenSource": "manual"}
    file = {"version": 1, "lastUsedProvider": provider, "providers": {provider: entry}}
    words = ["--provider", provider, "--model", at.model, "--key", KEY, "--auto-approve", "true", at.task]
    variables = {"CLINE_TELEMETRY_DISABLED": "1", "CLINE_NO_AUTO_UPDATE": "1"}
    return Run(words, variables, {".cline/data/settings/providers.json": json.dumps(file)})


def _continue(at: Place) -> Run:
    provider = {"chat": "openai", "messages": "anthropic"}[at.protocol]
    base = f"{at.url}/v1" if at.protocol == "chat" else f"{at.url}/v1/"
    config = {
        "name": "lab", "version": "1.0.0", "schema": "v1",
        "models": [{"name": "pair", "provider": provider, "model": at.model, "apiBase": base, "apiKey": KEY,
                    "capabilities": ["tool_use"], "roles": ["chat"]}],
    }  # fmt: skip
    words = ["--config", str(at.home / "config.yaml"), "--auto", "-p", at.task]
    return Run(words, {"CONTINUE_TELEMETRY_ENABLED": "0"}, {"config.yaml": json.dumps(config)})


def _aider(at: Place) -> Run:
    kind = {"chat": "openai", "messages": "anthropic"}[at.protocol]
    variables = (
        {"OPENAI_API_BASE": f"{at.url}/v1", "OPENAI_API_KEY": KEY}
        if kind == "openai"
        else {"ANTHROPIC_API_BASE": at.url, "ANTHROPIC_API_KEY": KEY}
    )
    words = [
        "--model", f"{kind}/{at.model}", "--weak-model", f"{kind}/{at.small}", "--no-show-model-warnings",
        "--no-check-update", "--analytics-disable", "--yes-always", "--no-git", "--edit-format", "diff",
        "--test-cmd", f"grep -qx 'hello world' {FILE}", "--auto-test", "--message", at.task, FILE,
    ]  # fmt: skip
    return Run(words, {**variables, **_LITELLM})


_LITELLM = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
_CLASSES = {"chat": "litellm", "messages": "litellm", "responses": "litellm_response"}


def _mini_swe_agent(at: Place) -> Run:
    kind = "anthropic" if at.protocol == "messages" else "openai"
    base = at.url if kind == "anthropic" else f"{at.url}/v1"
    words = [
        "--model", f"{kind}/{at.model}", "--model-class", _CLASSES[at.protocol], "--yolo", "--exit-immediately",
        "--cost-limit", "0", "--task", at.task, "--output", str(at.home / "run.json"),
        "-c", "mini.yaml", "-c", f"model.model_kwargs.api_base={base}", "-c", f"model.model_kwargs.api_key={KEY}",
    ]  # fmt: skip
    variables = {
        "MSWEA_CONFIGURED": "true", "MSWEA_COST_TRACKING": "ignore_errors", "MSWEA_SILENT_STARTUP": "1",
        "MSWEA_GLOBAL_CONFIG_DIR": str(at.home / "mini"), **_LITELLM,
    }  # fmt: skip
    return Run(words, variables)


def _qwen_code(at: Place) -> Run:
    variables = {
        "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": f"{at.url}/v1", "OPENAI_MODEL": at.model,
        "QWEN_TELEMETRY_ENABLED": "false",
    }  # fmt: skip
    settings = {
        "security": {"auth": {"selectedType": "openai"}},
        "general": {"disableAutoUpdate": True, "checkpointing": {"enabled": False}},
        "privacy": {"usageStatisticsEnabled": False},
    }
    words = ["--auth-type", "openai", "--approval-mode", "yolo", "-p", at.task]
    if at.protocol == "messages":
        variables = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": at.url, "ANTHROPIC_MODEL": at.model}
        settings["security"] = {"auth": {"selectedType": "anthropic"}}
        words[1] = "anthropic"
    return Run(words, variables, {".qwen/settings.json": json.dumps(settings)})


_PI = {"chat": "openai-completions", "responses": "openai-responses", "messages": "anthropic-messages"}


def _pi(at: Place) -> Run:
    base = at.url if at.protocol == "messages" else f"{at.url}/v1"
    model: dict[str, Any] = {"id": at.model, "contextWindow": 200_000, "maxTokens": 8192}
    provider = {"baseUrl": base, "apiKey": KEY, "api": _PI[at.protocol], "models": [model]}
    files = {".pi/agent/models.json": json.dumps({"providers": {"tandem": provider}})}
    words = ["--provider", "tandem", "--model", at.model, "--offline", "-p", at.task]
    return Run(words, {"PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1"}, files)


_FUNCTIONS = """
import pathlib, subprocess
def read_file(path: str) -> str:
    "Read a file."
    return pathlib.Path(path).read_text()
def replace(path: str, old: str, new: str) -> str:
    "Replace a text in a file."
    file = pathlib.Path(path); file.write_text(file.read_text().replace(old, new)); return "replaced"
def bash(command: str) -> str:
    "Run a command."
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout
"""


def _llm(at: Place) -> Run:
    model = [{"model_id": "tandem", "model_name": at.model, "api_base": f"{at.url}/v1", "supports_tools": True,
              "can_stream": True}]  # fmt: skip
    files = {"llm/extra-openai-models.yaml": json.dumps(model), "functions.py": _FUNCTIONS}
    words = ["-m", "tandem", "--key", KEY, "--functions", str(at.home / "functions.py"), "--cl", "9", at.task]
    return Run(words, {"LLM_USER_PATH": str(at.home / "llm")}, files)


_COPILOT = {"chat": ("openai", "completions"), "responses": ("openai", "responses"), "messages": ("anthropic", "")}


def _copilot(at: Place) -> Run:
    kind, wire = _COPILOT[at.protocol]
    variables = {
        "COPILOT_PROVIDER_BASE_URL": at.url if kind == "anthropic" else f"{at.url}/v1", "COPILOT_PROVIDER_TYPE": kind,
        "COPILOT_PROVIDER_API_KEY": KEY, "COPILOT_MODEL": at.model, "COPILOT_OFFLINE": "true",
        "COPILOT_AUTO_UPDATE": "false", **({"COPILOT_PROVIDER_WIRE_API": wire} if wire else {}),
    }  # fmt: skip
    return Run(["-p", at.task, "--allow-all-tools", "--allow-all-paths", "--no-auto-update"], variables)


_VIBE = {"chat": "openai", "responses": "openai-responses", "messages": "anthropic"}
_KEY_VARIABLE = "TANDEM_KEY"


def _vibe(at: Place) -> Run:
    base = at.url if at.protocol == "messages" else f"{at.url}/v1"
    lines = [
        'active_model = "pair"', "enable_telemetry = false", "enable_update_checks = false",
        "enable_auto_update = false",
        "[[providers]]", 'name = "tandem"', f'api_base = "{base}"', f'api_style = "{_VIBE[at.protocol]}"',
        f'api_key_env_var = "{_KEY_VARIABLE}"',
        "[[models]]", f'name = "{at.model}"', 'provider = "tandem"', 'alias = "pair"',
    ]  # fmt: skip
    words = ["-p", at.task, "--auto-approve", "--trust"]
    variables = {"VIBE_HOME": str(at.home / ".vibe"), _KEY_VARIABLE: KEY}
    return Run(words, variables, {".vibe/config.toml": "\n".join(lines)})


def _gptme(at: Place) -> Run:
    words = ["--non-interactive", "--tool-format", "tool", "--model", f"local/{at.model}", at.task]
    return Run(words, {"OPENAI_BASE_URL": f"{at.url}/v1", "OPENAI_API_KEY": KEY})


def _droid(at: Place) -> Run:
    """Its maker's key is asked for, and not looked at where the model is one's own."""
    model = {
        "id": "custom:pair-0", "index": 0, "model": at.model, "displayName": "pair", "baseUrl": f"{at.url}/v1",
        "apiKey": KEY, "provider": "generic-chat-completion-api", "maxOutputTokens": 8192,
    }  # fmt: skip
    words = ["exec", "--skip-permissions-unsafe", "-m", "custom:pair-0", at.task]
    return Run(words, {"FACTORY_API_KEY": KEY}, {".factory/settings.json": json.dumps({"customModels": [model]})})


AGENTS = (
    Agent("claude-code", "@anthropic-ai/claude-code@2.1.197", "claude", ("messages",), _claude_code),
    Agent("codex", "@openai/codex@0.171.0", "codex", ("responses",), _codex),
    Agent("opencode", "opencode-ai@1.18.33", "opencode", ("chat", "responses", "messages"), _opencode),
    Agent("cline", "cline@3.0.65", "cline", ("chat", "messages"), _cline),
    Agent("continue", "@continuedev/cli@1.5.47", "cn", ("chat", "messages"), _continue),
    Agent("aider", "aider-chat==0.86.2", "aider", ("chat", "messages"), _aider),
    Agent("mini-swe-agent", "mini-swe-agent==2.4.6", "mini", ("chat", "responses", "messages"), _mini_swe_agent),
    Agent("qwen-code", "@qwen-code/qwen-code@0.24.4", "qwen", ("chat", "messages"), _qwen_code),
    Agent("pi", "@mariozechner/pi-coding-agent@0.73.1", "pi", ("chat", "responses", "messages"), _pi),
    Agent("llm", "llm==0.36", "llm", ("chat",), _llm),
    Agent("copilot", "@github/copilot@1.0.102", "copilot", ("chat", "responses", "messages"), _copilot),
    Agent("vibe", "mistral-vibe==3.0.2", "vibe", ("chat", "responses", "messages"), _vibe, python="3.12"),
    Agent("gptme", "gptme==0.35.1", "gptme", ("chat",), _gptme),
    Agent("droid", "droid@0.215.0", "droid", ("chat",), _droid),
)
