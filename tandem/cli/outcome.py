"""tandem outcome, tandem promises"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Table

from tandem.cli.output import JsonFlag, console, print_json
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.results import to_dict, to_dict_or_none
from tandem.errors import UserError

_WORDS = {"right": True, "wrong": False}
_SAID = {
    "counted": "counted",
    "stricter": "counted; by it the policy has become a step stricter",
    "old": "noted; the policy has become stricter since this request",
    "noted": "noted as a label; a promise counts shadows, and each request once",
    "same": "it was reported before",
}


def outcome(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="The request's id.")],
    what: Annotated[
        str, typer.Argument(metavar="right|wrong|SCORE", help="What its answer was; a score lies in 0..1.")
    ],
    json: JsonFlag = False,
) -> None:
    """Say whether a request's answer was right, once: tandem outcome 4f1c right."""
    with Client() as client:
        reply = client.report(request, _parsed(what))
    found = to_dict_or_none(reply, "policy")
    if json:
        print_json(found)
        return
    console.print(_SAID.get(found["counting"], found["counting"]))
    if found["policy"]:
        console.print(describe(found["policy"]))


def promises(
    tenant: Annotated[str, typer.Option(help="Another tenant than the caller's.")] = "", json: JsonFlag = False
) -> None:
    """Show what outcomes and shadows say of each policy: what is lost, and whether a promise is kept."""
    with Client() as client:
        found = [to_dict(each) for each in client.promises(tenant).policies]
    if json:
        print_json(found)
        return
    table = Table("profile", "task", "promised", "outcomes", "lost", "between", "says", "step", "accepted by", box=None)
    for each in found:
        table.add_row(
            each["profile"], each["task"], "none" if each["promised"] is None else f"{each['promised']:.1%}",
            str(each["outcomes"]), f"{each['lost']:g}", f"{each['lost_at_least']:.1%} and {each['lost_at_most']:.1%}",
            _standing(each), str(each["step"]), each["evidence"],
        )  # fmt: skip
    print_table(table, optional=("between", "accepted by"))


def describe(policy: dict[str, Any]) -> str:
    """Return one line of a policy's standing."""
    promised = "nothing is promised" if policy["promised"] is None else f"at most {policy['promised']:.1%} are promised"
    return (
        f"{policy['profile']}, {policy['task']}: {policy['lost']:g} of {policy['outcomes']} lost, between "
        f"{policy['lost_at_least']:.1%} and {policy['lost_at_most']:.1%} ({policy['confidence']:.0%} each); "
        f"{promised}: {_standing(policy)}"
    )


def _standing(policy: dict[str, Any]) -> str:
    if policy["promised"] is None:
        return "no promise"
    return {"kept": "kept", "broken": "broken"}.get(policy["standing"], "too few outcomes to tell")


def _parsed(what: str) -> bool | float:
    if what in _WORDS:
        return _WORDS[what]
    try:
        return float(what)
    except ValueError:
        raise UserError(f"an outcome is right, wrong or a score from 0 to 1, not {what!r}") from None
