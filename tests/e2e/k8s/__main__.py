"""Start or end the test cluster, or load an image of Docker's: `python -m tests.e2e.k8s up`, `down`, `load IMAGE`."""

from __future__ import annotations

import sys

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.containers import load_from_docker


def main() -> None:
    cluster = Cluster()
    if sys.argv[1] == "down":
        cluster.down()
    elif sys.argv[1] == "load":
        load_from_docker(cluster, sys.argv[2])
    else:
        cluster.up()


if __name__ == "__main__":
    main()
