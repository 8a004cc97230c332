"""Names that parts agree on: the distribution's, and in Temporal workflows, task queues, search attributes, ids."""

DISTRIBUTION = "tandem-insights"
"""The name to install by: PyPI has a package `tandem` of somebody else."""

SOLVE_WORKFLOW = "Solve"
SHADOW_WORKFLOW = "Shadow"
BESIDE_WORKFLOW = "Beside"
BATCH_WORKFLOW = "Batch"
BATCH_PROGRESS = "progress"
"""Field of a batch's memo: its BatchProgress."""
CANCEL_SIGNAL = "cancel"
LLM_ACTIVITY = "generate_insight"
"""The one that takes a slot of the large model."""
# Search attributes of Temporal, by the name under which `tandem request list --where` knows them.
SEARCH_ATTRIBUTES = {
    "cost": "TandemCostUsd",
    "saved": "TandemSavedRatio",
    "stage": "TandemStopStage",
    "reason": "TandemStopReason",
    "profile": "TandemProfile",
    "tenant": "TandemTenant",
}


def solve_queue(profile: str) -> str:
    """Task queue of one profile's workflows, scoring and answers."""
    return f"tandem-{profile}"


def llm_queue(profile: str) -> str:
    """Task queue of the large model's activities: few slots, one for each sequence that the pool can run."""
    return f"tandem-{profile}-llm"


def batch_queue(profile: str) -> str:
    """Task queue of one profile's batches: what waits for a batch's requests must not take the slots that they need.

    No profile's name has a slash: the queue is no other profile's.
    """
    return f"tandem-{profile}/batch"


def batched_id(batch_id: str, number: int) -> str:
    """The id of the request in line `number` of a batch (from 1): a line that is asked again joins the request that
    there is.
    """
    return f"{batch_id}.{number}"


def shadow_id(request_id: str) -> str:
    """No request's id has a tilde: the shadow's is no other request's, which a deletion or a reader of the shadow would
    reach.
    """
    return f"{request_id}~shadow"


def beside_id(request_id: str, role: str) -> str:
    """Of what a small model writes while another one writes the request's answer: a log has one writer."""
    return f"{request_id}~{role}"


def sampled_id(request_id: str) -> str:
    """Of what is asked beside a request so that all models have answered it."""
    return f"{request_id}~beside"


def judge_id(request_id: str) -> str:
    """Of what judges the request's shadow."""
    return f"{shadow_id(request_id)}~judge"
