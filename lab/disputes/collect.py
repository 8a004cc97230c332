"""Asks the small models of a profile and its large one the caller's own requests: the file that `tandem disputes` and
`tandem calibrate --lose-at-most` read (docs/stop-rule.md). What is there is not asked again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lab.collecting import append_each, keep_origin, whole_lines
from lab.training.errors import StoreError
from lab.training.machine import Machine, engine_of, written
from lab.training.refusals import OF_ONE_REQUEST, Refusals
from services.models.engine.api import EngineError, FinishReason, RunningModel
from services.models.engine.token_writer import writer_of
from services.models.engine.writer import Writing
from tandem.convert.requests import solve_request_from_pb
from tandem.method.conversation import AGREED, kind_of
from tandem.method.errors import InvalidArgument
from tandem.method.problems import problems
from tandem.method.profile.profile import Profile
from tandem.method.request.plan import Plan, make_plan
from tandem.method.request.prompts import answer_prompt, llm_alone_prompt
from tandem.method.request.request import SolveRequest
from tandem.method.roles import LLM
from tandem.openai.chat_request import ChatCompletionRequest
from tandem.openai.parameters import RefusedParameter


@dataclass(frozen=True)
class OwnRequest:
    """`body` is as the caller has it, `asked` as the gateway would read it."""

    id: str
    body: Mapping[str, Any]
    asked: SolveRequest

    @property
    def is_free_text(self) -> bool:
        return kind_of(self.asked.task, self.asked.json_schema, may_call=self.asked.tools.may_call) == "chat"


def are_bodies(file: Path) -> bool:
    """Whether a file has lines that are bodies of OpenAI's chat API, with an id beside them or not."""
    try:
        with file.open() as lines:
            first = json.loads(lines.readline() or "null")
    except (OSError, ValueError):
        return False
    return isinstance(first, dict) and "messages" in _parts(first, "")[1]


def read_bodies(file: Path, profile: Profile) -> list[OwnRequest]:
    """Raises StoreError for a line that is none, or whose id is another's."""
    found: dict[str, OwnRequest] = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            own = _own(json.loads(line), f"line{number}", profile)
        except (ValueError, AttributeError, ValidationError, RefusedParameter, InvalidArgument) as error:
            raise StoreError(f"{file}:{number}: no request: {problems(error)}") from error
        if own.id in found:
            raise StoreError(f"{file}:{number}: the id {own.id} stands there twice")
        found[own.id] = own
    return list(found.values())


def _parts(line: Mapping[str, Any], name: str) -> tuple[str, dict[str, Any]]:
    """Its id and body: as a line of `tandem batch` in OpenAI's form, with both named, or as the body alone."""
    body = line.get("request", line.get("body", line))
    return str(line.get("id", line.get("custom_id", name))), body if isinstance(body, dict) else {}


def _own(line: Mapping[str, Any], name: str, profile: Profile) -> OwnRequest:
    own_id, body = _parts(line, name)
    said = {key: line[key] for key in ("task", "tenant") if key in line and body is not line}
    whole = ChatCompletionRequest.model_validate({**body, "model": "", "tandem": {**body.get("tandem", {}), **said}})
    asked = solve_request_from_pb(whole.as_solve_request(own_id), profile.default_task.messages)
    return OwnRequest(own_id, body, asked)


async def ask_all(
    requests: list[OwnRequest],
    profile: Profile,
    out: Path,
    models: Path,
    machine: Machine,
    report: Callable[[int, int], None],
) -> dict[str, str]:
    """Append a line to `out` for each request that it lacks. Returns those that are left out, by id, with the reason.

    Raises StoreError where `out` was made with other models, or one does not answer or refuses every request.
    """
    if len(profile.small) < 2:
        raise StoreError(
            f"{profile.name} has one small model, which agrees with nobody: a second `--small` of `tandem up` adds one"
        )
    roles = (*profile.small_roles[: profile.agreement.size], LLM)
    keep_origin({"pair": profile.name, "models": {role: _named(profile, role) for role in roles}}, out)
    done = {json.loads(line)["id"] for line in whole_lines(out)}
    left_out = {each.id: "free text, of which agreement shows nothing" for each in requests if each.is_free_text}
    missing = [each for each in requests if each.id not in done and each.id not in left_out]
    report(len(done), len(done) + len(missing))
    refusals = Refusals(len(done))
    with ExitStack() as stack:
        engines = {role: stack.enter_context(engine_of(profile, role, models, machine)) for role in roles if missing}

        async def line(own: OwnRequest) -> dict[str, Any]:
            plan = _plan(profile, own.asked)
            answers = {role: await _reply(profile, own.asked, plan, role, engine) for role, engine in engines.items()}
            about = {"id": own.id, "task": own.asked.task, "tenant": own.asked.tenant}
            return {**about, "request": own.body, "answers": answers}

        await append_each(out, missing, refusals.leaving_out(line), machine.width, len(done), report)
    refusals.end()
    return left_out | refusals.left_out


def _named(profile: Profile, role: str) -> str:
    model = profile.models[role]
    return f"{model.name} at {model.api.url}" if model.api else model.name


def _plan(profile: Profile, asked: SolveRequest) -> Plan:
    """As if the answer were taken by agreement."""
    taken = profile.agreement.model_copy(update={"kinds": AGREED})
    profile = profile.model_copy(update={"agreement": taken})
    return make_plan(profile, asked.task, asked.json_schema, may_call=asked.tools.may_call)


async def _reply(profile: Profile, asked: SolveRequest, plan: Plan, role: str, engine: RunningModel) -> dict[str, Any]:
    is_large, may_call = role == LLM, asked.tools.may_call
    prompt = llm_alone_prompt(profile, asked) if is_large else answer_prompt(profile, asked)
    cap = plan.answer_max_tokens if is_large else plan.trial.max_tokens or plan.answer_max_tokens
    work = Writing(
        f"{asked.request_id}/{role}",
        prompt,
        min(cap, asked.max_answer_tokens or cap),
        asked.sampling,
        asked.json_schema,
        tools=asked.tools,
        may_call=may_call,
        stop_strings=tuple(asked.stop_strings),
    )
    try:
        done = await written(engine, work)
    except OF_ONE_REQUEST:
        raise
    except EngineError as error:
        raise StoreError(
            f"{_named(profile, role)}: {error}; what was collected is kept, and the same command goes on"
        ) from error
    text, calls = writer_of(engine).calls.read(done.text, asked.tools.schemas) if may_call else (done.text, ())
    is_cut = done.reason is FinishReason.LENGTH
    counts = [done.usage.read, done.usage.completion]
    return {"text": text, "calls": [list(call) for call in calls], "tokens": counts, "is_cut": is_cut}
