"""Start or end the test cluster, with KServe's controller: `python -m tests.e2e.k8s up`, `down`."""

from __future__ import annotations

import sys

from tests.e2e.k8s import kserve
from tests.e2e.k8s.cluster import Cluster


def main() -> None:
    cluster = Cluster()
    if sys.argv[1] == "down":
        cluster.down()
    else:
        cluster.up()
        kserve.install(cluster)


if __name__ == "__main__":
    main()
