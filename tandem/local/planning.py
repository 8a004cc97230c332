"""Which stack to run: one is planned on free ports, started, found again, and compared with what is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from urllib.parse import urlsplit

from tandem.local.layout import LOCAL_PROCESSES, Layout, StackError, engine_name, engine_threads, every_process, named
from tandem.local.ports import OwnPorts
from tandem.local.programs import left_out, require_binary, require_jaeger
from tandem.local.supervisor import EVERY, PortTaken, Report, Stack
from tandem.method.errors import TandemError
from tandem.method.profile.profile import Profile, load_profile, promising
from tandem.paths import DEFAULT_PROFILE, REPOSITORY, models_folder, profile_folders, read_stack, state_folder
from tandem.tracing import jaeger as jaeger_api
from tandem.tracing.otlp import ENDPOINT, GRPC, HTTP, PROTOCOL

_LOSE_AT_MOST = "TANDEM_LOSE_AT_MOST"
_START_ATTEMPTS = 3


def start_stack(
    profile: str = DEFAULT_PROFILE,
    *,
    further_pairs: Sequence[str] = (),
    jaeger: bool = False,
    restarts: bool = True,
    tls: bool = False,
    http_port: int | None = None,
    lose_at_most: float | None = None,
    report: Report = lambda _: None,
    needed: Collection[str] = EVERY,
) -> Stack:
    """`plan_stack`, start it, and wait until the processes of `needed` are ready. Where another program takes a port in
    between, it is planned again. Raises StackError.
    """
    for remaining in reversed(range(_START_ATTEMPTS)):
        stack = plan_stack(
            profile,
            further_pairs=further_pairs,
            jaeger=jaeger,
            restarts=restarts,
            tls=tls,
            http_port=http_port,
            lose_at_most=lose_at_most,
        )
        try:
            stack.up(report, needed)
            break
        except PortTaken:
            if not remaining:
                raise
    if os.environ.get("TANDEM_RETENTION"):
        try:
            set_retention(stack.address("temporal"))
        except StackError:
            stack.down()
            raise
    return stack


def set_retention(temporal: str) -> None:
    """What the chart's setup job does elsewhere: the Temporal at this address follows TANDEM_RETENTION. Raises
    StackError.
    """
    environment = {**os.environ, "TEMPORAL_ADDRESS": temporal, "TANDEM_BUILD": ""}
    command = [sys.executable, "-m", "workflows.setup"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(done.stderr.strip() or "Temporal's retention could not be set")


def plan_stack(
    profile: str = DEFAULT_PROFILE,
    *,
    further_pairs: Sequence[str] = (),
    jaeger: bool = False,
    restarts: bool = True,
    tls: bool = False,
    http_port: int | None = None,
    lose_at_most: float | None = None,
) -> Stack:
    """Return a stack on the preferred ports, or on others where they are taken; no other stack gets them while this
    one runs.

    `jaeger`: send every trace to the Jaeger that TANDEM_JAEGER names, or to one that the stack starts. `restarts`:
    start a process that ends again. `tls`: processes and clients speak TLS. `http_port`:
    the HTTP gateway's, None: any. Raises StackError when a binary is missing, or `http_port` is taken.
    """
    folder = _writable(state_folder())
    for name in ("redis-server", "temporal"):
        require_binary(name)
    external = os.environ.get("TANDEM_JAEGER", "") if jaeger else ""
    if external and not jaeger_api.answers(external):
        raise StackError(f"no Jaeger answers at {external}, the value of TANDEM_JAEGER")
    if jaeger and not external:
        require_jaeger()
    loaded = {pair: _loaded(pair or profile) for pair in ("", *further_pairs)}
    unneeded = {named(each, pair) for pair, known in loaded.items() for each in left_out(known, tls=tls)}
    unneeded |= {"jaeger"} if not jaeger or external else set()
    wanted = [each for each in every_process(further_pairs) if each.name not in unneeded]
    own = OwnPorts(wanted, {"http-gateway": http_port} if http_port else {})
    environment = {
        "TANDEM_MODELS": str(models_folder()),
        "TANDEM_PROFILES_PATH": os.pathsep.join(str(f.resolve()) for f in profile_folders()),
        "TANDEM_ENGINE": engine_name(),
        "TANDEM_THREADS": str(engine_threads()),
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if lose_at_most is not None:
        environment[_LOSE_AT_MOST] = str(lose_at_most)
    if jaeger:
        environment |= _trace_export(own.numbers, external)
    return Stack(folder, profile, own.numbers, environment, external, restarts, tls, further_pairs, own)


def open_stack() -> Stack | None:
    """Return the stack that runs from the state folder; None when none does."""
    written = read_stack()
    if written is None:
        return None
    known = {each.name: written[each.name] for each in fields(Layout) if each.name in written}
    stack = Stack(**known | {"folder": state_folder()})
    return stack if stack.is_up() else None


def require_same(
    stack: Stack,
    pairs: Sequence[str],
    *,
    jaeger: bool,
    tls: bool = False,
    http_port: int | None = None,
    lose_at_most: float | None = None,
) -> None:
    """Raises StackError where the stack that runs is not what is asked for. An empty name of a pair is any."""
    wanted = []
    if set(pairs) - {"", *stack.pairs}:
        wanted += [f"profile {pair}" for pair in pairs]
    external = os.environ.get("TANDEM_JAEGER", "")
    if jaeger and (not stack.jaeger or external not in ("", stack.jaeger)):
        wanted.append(f"Jaeger {external}".rstrip())
    if tls and not stack.tls:
        wanted.append("TLS")
    if http_port and http_port != stack.ports["http-gateway"]["main"]:
        wanted.append(f"HTTP port {http_port}")
    if lose_at_most is not None and stack.environment.get(_LOSE_AT_MOST) != str(lose_at_most):
        wanted.append(f"--lose-at-most {lose_at_most}")
    if wanted:
        traces = f"traces to {stack.jaeger}" if stack.jaeger else "no Jaeger"
        served = " and ".join(f"profile {pair}" for pair in stack.pairs)
        raise StackError(
            f"a stack with {served} and {traces} runs from {stack.folder}: stop it with `tandem down` "
            f"to start one with {' and '.join(wanted)}, or set TANDEM_STATE to another folder"
        )


def require_one_pair_here(pairs: Sequence[str]) -> None:
    """Raises StackError where the models of more than one pair would run on this machine."""
    profiles = map(_loaded, pairs)
    here = [each.name for each in profiles if any(model.api is None for model in each.models.values())]
    if len(here) > 1:
        raise StackError(
            f"the models of {' and '.join(here)} run on this machine, and a stack runs those of one pair: serve one of "
            "them with pairs of endpoints, or give another a stack of its own, with "
            f"TANDEM_STATE=FOLDER tandem up --profile {here[-1]}"
        )


def require_promise(pairs: Sequence[str], lose_at_most: float | None) -> None:
    """Raises StackError where nothing of a pair can be learned."""
    if lose_at_most is None:
        return
    for pair in pairs:
        try:
            promising(_loaded(pair or DEFAULT_PROFILE), lose_at_most)
        except TandemError as error:
            raise StackError(str(error)) from error


def _loaded(profile: str) -> Profile:
    try:
        return load_profile(profile, tuple(profile_folders()))
    except TandemError as error:
        raise StackError(str(error)) from error


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StackError(
            f"the state folder {folder} cannot be made ({error.strerror}): set TANDEM_STATE to a folder"
        ) from error
    return folder


def _trace_export(ports: dict[str, dict[str, int]], external: str) -> dict[str, str]:
    """An external Jaeger is assumed to take OTLP on its protocol's standard port, unless the environment names
    another.
    """
    protocol = os.environ.get(PROTOCOL) or GRPC
    name = "otlp-http" if protocol == HTTP else "otlp"
    if external:
        standard = next(process.ports[name] for process in LOCAL_PROCESSES if process.name == "jaeger")
        endpoint = os.environ.get(ENDPOINT, f"http://{urlsplit(external).hostname}:{standard}")
    else:
        endpoint = f"http://127.0.0.1:{ports['jaeger'][name]}"
    return {ENDPOINT: endpoint, PROTOCOL: protocol, "OTEL_BSP_SCHEDULE_DELAY": "200"}
