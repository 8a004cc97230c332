"""tandem profiles"""

from __future__ import annotations

from rich.table import Table

from tandem.cli.output import JsonFlag, print_json
from tandem.cli.tables import print_table
from tandem.client.clients import Client
from tandem.client.results import to_dict


def profiles(json: JsonFlag = False) -> None:
    """List the profiles that the gateway serves."""
    with Client() as client:
        listed = client.profiles()
    if json:
        print_json(to_dict(listed))
        return
    table = Table("profile", "large model", "small model", "hand-off", "stages", "scorer", box=None)
    for profile in listed.profiles:
        stages = ", ".join(f"{s.name} ≤{s.max_tokens}" for s in profile.stages)
        scorer = (
            profile.scorer
            if profile.scorer_trained or profile.scorer == "untrained"
            else f"{profile.scorer} (untrained)"
        )
        mark = " *" if profile.name == listed.default_profile else ""
        table.add_row(profile.name + mark, profile.llm, profile.slm, profile.handoff, stages, scorer)
    print_table(table, optional=("hand-off", "scorer", "stages"))
