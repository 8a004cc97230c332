"""What Temporal knows of a tenant's bills: an account that Redis has lost is rebuilt from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError

from services.gateway.listing import readable_memo
from services.process.temporal import unavailable
from tandem.method.charge import Charge, nano_usd
from tandem.method.names import SEARCH_ATTRIBUTES, SOLVE_WORKFLOW


@dataclass(frozen=True, slots=True)
class Spent:
    """A request of a tenant: its bill, or of one that runs, or ended without one, its upper bound."""

    request_id: str
    began_at: datetime
    is_running: bool
    charge: Charge


class Spending:
    """Without search attributes in the namespace nothing is known."""

    def __init__(self, client: Client, is_searchable: bool) -> None:
        self._client, self._is_searchable = client, is_searchable

    async def since(self, tenant: str, moment: datetime) -> list[Spent]:
        """The tenant's requests that began at `moment` or later. Raises Unavailable."""
        if not self._is_searchable:
            return []
        whose = f"= '{tenant}'" if tenant else "IS NULL"
        query = (
            f"WorkflowType = '{SOLVE_WORKFLOW}' AND {SEARCH_ATTRIBUTES['tenant']} {whose} "
            f"AND StartTime >= '{moment.isoformat()}'"
        )
        try:
            return [await _spent(execution) async for execution in self._client.list_workflows(query, page_size=1000)]
        except RPCError as error:
            raise unavailable(error) from error


async def _spent(execution: WorkflowExecution) -> Spent:
    found = {pair.key.name: pair.value for pair in execution.typed_search_attributes}
    usd = found.get(SEARCH_ATTRIBUTES["cost"])
    is_running = execution.status == WorkflowExecutionStatus.RUNNING
    if usd is not None and not is_running:
        return Spent(execution.id, execution.start_time, is_running, Charge(nano_usd(float(usd)), 0))
    memo = await readable_memo(execution)
    bound = memo.get("bound") or {}
    charge = Charge(int(bound.get("nano_usd", 0)), int(bound.get("tokens", 0)))
    return Spent(execution.id, execution.start_time, is_running, charge)
