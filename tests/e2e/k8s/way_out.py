"""A way out for the nodes and pods of the test cluster, which have none of their own, for as long as a test needs
it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e.k8s.cluster import Cluster
from tests.e2e.k8s.layout import HERE, NODES, Layout, call

_CABLE, _HERE, _THERE = "tandem-out", "172.31.255.1", "172.31.255.2"
_INSIDE = ("10.244.0.0/16", "172.30.0.0/24")  # pods, nodes
_FORWARDING = "net.ipv4.ip_forward"


@contextmanager
def way_out(cluster: Cluster) -> Iterator[None]:
    """Pods reach what this machine reaches, and resolve its names. Other tests than those in the block should not run
    beside it.
    """
    before = _outside("sysctl", "-n", _FORWARDING).strip()
    with ExitStack() as undo:
        undo.callback(call, "ip", "-n", "kn1", "route", "replace", "default", "via", NODES[1].address)
        _connect()
        undo.callback(_outside, "ip", "link", "del", _CABLE)
        _outside("sysctl", "-qw", f"{_FORWARDING}=1")
        undo.callback(_outside, "sysctl", "-qw", f"{_FORWARDING}={before}")
        for table, chain, *rule in _rules(_device()):
            _outside("iptables", "-t", table, "-I", chain, *rule)
            undo.callback(_outside, "iptables", "-t", table, "-D", chain, *rule)
        undo.callback(_resolve, cluster, "cache 10")
        _resolve(cluster, f"cache 10\n      forward . {_name_server()}")
        yield


def _outside(*command: str) -> str:
    """In this machine's own network, which the cluster's supervisord runs in; tests run in the first node's."""
    supervisord = (Layout().run / "supervisord.pid").read_text().strip()
    return call("nsenter", f"--net=/proc/{supervisord}/ns/net", *command)


def _connect() -> None:
    """A cable to the first node, over which the second one's packets go too."""
    _outside("ip", "link", "add", _CABLE, "type", "veth", "peer", "name", "out", "netns", "kn1")
    for ip, name, address in ((("ip",), _CABLE, _HERE), (("ip", "-n", "kn1"), "out", _THERE)):
        _outside(*ip, "addr", "add", f"{address}/30", "dev", name)
        _outside(*ip, "link", "set", name, "up")
    call("ip", "-n", "kn1", "route", "replace", "default", "via", _HERE)
    for network in _INSIDE:
        _outside("ip", "route", "add", network, "via", _THERE)


def _rules(device: str) -> list[tuple[str, ...]]:
    translated = [("nat", "POSTROUTING", "-s", each, "-o", device, "-j", "MASQUERADE") for each in _INSIDE]
    return [
        *translated,
        ("filter", "FORWARD", "-i", _CABLE, "-j", "ACCEPT"),
        ("filter", "FORWARD", "-o", _CABLE, "-j", "ACCEPT"),
    ]


def _device() -> str:
    """Where this machine's default route leads."""
    [route, *_] = json.loads(_outside("ip", "-json", "route", "show", "default"))
    return str(route["dev"])


def _name_server() -> str:
    found = re.search(r"^nameserver (\S+)", Path("/etc/resolv.conf").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def _resolve(cluster: Cluster, plugins: str) -> None:
    """Let CoreDNS run with `plugins` at the end of its list."""
    objects = (HERE / "coredns.yaml").read_text().replace("cache 10", plugins)
    cluster.kubectl("apply", "-f", "-", input=objects)
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "deploy/coredns")
    cluster.kubectl("-n", "kube-system", "rollout", "status", "deploy/coredns", "--timeout=90s")
