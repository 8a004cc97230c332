"""tandem doctor"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from tandem.cli.defaults import config_file
from tandem.cli.local_checks import MachineCheck, local_checks
from tandem.cli.output import JsonFlag, console, print_json
from tandem.client.clients import Client
from tandem.errors import RequestError
from tandem.method.errors import TandemError
from tandem.method.profile.profile import load_profile
from tandem.method.roles import title
from tandem.paths import (
    DEFAULT_GATEWAY,
    DEFAULT_PROFILE,
    is_checkout,
    models_folder,
    profile_folders,
    read_stack,
    state_folder,
)


def doctor(
    profile: Annotated[
        str, typer.Option(help="Pair to check; default: that of the stack that runs, else the default one.")
    ] = "",
    json: JsonFlag = False,
) -> None:
    """Check this machine and say what to do. Exit code 1 when something required is missing."""
    checks = list(_checks(profile))
    settings = _precedence()
    failed = any(not c.ok and c.required for c in checks)
    if json:
        print_json({"ok": not failed, "checks": [asdict(c) for c in checks], "settings": settings})
    else:
        for check in checks:
            mark = ("ok  ", "green") if check.ok else ("no  ", "red") if check.required else ("–   ", "yellow")
            console.print(Text.assemble(mark, f"{check.name:18} {check.found}"))
            if not check.ok:
                console.print(f"    → {check.advice}", style="yellow")
        console.print(
            f"\nsettings: an option overrides a variable, a variable overrides {config_file()}, which overrides the "
            "default",
            style="dim",
        )
        for name, setting in settings.items():
            console.print(f"    {name:22} {setting['value']}   (from {setting['from']})", style="dim")
    if failed:
        raise typer.Exit(1)


def _checks(profile: str) -> Iterator[MachineCheck]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield MachineCheck("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer")
    if is_checkout():
        stack = read_stack() or {"profile": DEFAULT_PROFILE}
        wanted = [profile] if profile else [stack["profile"], *stack.get("further_pairs", ())]
        yield from local_checks(wanted[0])
        for pair in wanted:
            yield from _endpoints(pair)
    else:
        advice = "to run models on this machine, clone the repository and run `make setup` in it"
        yield MachineCheck("local stack", False, "only the client is installed", advice, required=False)
    yield _gateway()
    if address := (read_stack() or {}).get("http"):
        yield _http_gateway(address)


def _endpoints(profile: str) -> Iterator[MachineCheck]:
    """Tell whether each model that others run can be reached, and what is lost with it, as the profile knows it."""
    try:
        pair = load_profile(profile, tuple(profile_folders()))
    except TandemError:
        return  # local_checks has named it
    from tandem.endpoints.probe import reach
    from tandem.endpoints.requests import EndpointError

    for role, model in ((f"{title(role)} model", model) for role, model in pair.models.items()):
        if model.api is None:
            continue
        try:
            reach(model.api)
            yield MachineCheck(role, True, f"{model.name} at {model.api.url}")
        except EndpointError as error:
            yield MachineCheck(role, False, str(error), f"see `tandem profile check {profile}`")
        if losses := model.api.can.losses():
            advice = f"`tandem profile check {profile}` asks it again what it can"
            yield MachineCheck(f"{role} lacks", False, "; ".join(losses), advice, required=False)
    if unknown := pair.prices.unknown:
        advice = "put its price into the profile, or give `tandem profile new` one"
        yield MachineCheck(
            "prices", False, f"none is known of {', '.join(unknown)}: bills are null", advice, required=False
        )


def _gateway() -> MachineCheck:
    with Client() as client:
        try:
            client.profiles()
        except RequestError as error:
            return MachineCheck(
                "gateway",
                False,
                f"{client.address}: {error.code.name}",
                "run `tandem up`, or set TANDEM_ADDRESS",
                required=False,
            )
        if client.address != DEFAULT_GATEWAY or read_stack() or "TANDEM_ADDRESS" in os.environ:
            return MachineCheck("gateway", True, client.address)
        return MachineCheck(
            "gateway",
            "TANDEM_STATE" not in os.environ,  # who names a folder asks about the stack of that folder
            f"{client.address}, the default: no stack runs from {state_folder()}",
            f"run `tandem up`, or set TANDEM_ADDRESS={client.address} if that gateway is meant",
            required=False,
        )


def _http_gateway(address: str) -> MachineCheck:
    from tandem.local.probes import answers_http

    ready = answers_http(f"{address}/readyz")
    return MachineCheck("http-gateway", ready, address, "see `tandem logs http-gateway`", required=False)


def _precedence() -> dict[str, dict[str, str]]:
    stack = read_stack()
    defaults = {
        "TANDEM_ADDRESS": (stack["gateway"], "local stack") if stack else (DEFAULT_GATEWAY, "default"),
        "TANDEM_MODELS": (str(models_folder()), "default"),
        "TANDEM_STATE": (str(state_folder()), "default"),
        "OTEL_EXPORTER_OTLP_ENDPOINT": ("not set: no traces are exported", "default"),
    }
    return {
        name: {"value": os.environ[name], "from": "environment"}
        if name in os.environ
        else {"value": value, "from": source}
        for name, (value, source) in defaults.items()
    }
