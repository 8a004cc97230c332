"""Draw how pods followed the load on the test cluster, from what `make e2e-k8s` wrote: `make scaling-curves`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab.bench.common import RESULTS
from lab.bench.drawing import plt

_PICTURE = Path(__file__).parents[1] / "docs" / "scaling.svg"


def main() -> None:
    table = json.loads((RESULTS / "k8s-scaling.json").read_text())
    _draw(table["seconds"], table["requests"])
    print(_PICTURE.relative_to(_PICTURE.parents[1]))


def _draw(seconds: list[dict[str, Any]], requests: list[dict[str, float]]) -> None:
    """Three pictures above each other, over the seconds."""
    x = [second["at"] for second in seconds]
    figure, (load, pods, times) = plt.subplots(3, figsize=(8, 7), sharex=True, layout="constrained")
    load.plot(x, [second["waiting_tasks"] for second in seconds], label="tasks that wait for a worker")
    load.plot(x, [second["small_model_requests"] for second in seconds], label="requests in the small model")
    load.set_ylabel("backlog")
    load.legend(fontsize=7)
    for component in seconds[0]["ready"]:
        pods.step(x, [second["ready"][component] for second in seconds], where="post", label=component)
    pods.set_ylabel("ready pods")
    pods.legend(fontsize=7)
    times.plot([each["at"] for each in requests], [each["seconds"] for each in requests], ".", markersize=3)
    times.set_ylabel("seconds of a request")
    times.set_xlabel("seconds; a request stands where it began")
    for axes in (load, pods, times):
        axes.set_ylim(bottom=0)
    figure.savefig(_PICTURE, metadata={"Date": None})


if __name__ == "__main__":
    main()
