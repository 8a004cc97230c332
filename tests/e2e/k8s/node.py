"""The machine's side of a node: its network namespace, its folders and configuration, its cgroups."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from tests.e2e.k8s.layout import HERE, Layout, Node, call, mounts

_CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified")


def connect_nodes() -> None:
    """Two namespaces and a cable; each routes the other's pods."""
    for index in (1, 2):
        if not Path(f"/run/netns/kn{index}").exists():
            call("ip", "netns", "add", f"kn{index}")
    if subprocess.run(["ip", "-n", "kn1", "link", "show", "eth1"], capture_output=True, check=False).returncode:
        call("ip", "link", "add", "eth1", "netns", "kn1", "type", "veth", "peer", "name", "eth1", "netns", "kn2")
    for index in (1, 2):
        other, ip = 3 - index, ("ip", "-n", f"kn{index}")
        call(*ip, "link", "set", "lo", "up")
        call(*ip, "addr", "replace", f"172.30.0.{index}/24", "dev", "eth1")
        call(*ip, "link", "set", "eth1", "up")
        call(*ip, "route", "replace", "default", "via", f"172.30.0.{other}")
        call(*ip, "route", "replace", f"10.244.{other}.0/24", "via", f"172.30.0.{other}")
        call("nsenter", f"--net=/run/netns/kn{index}", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        # Connections between two pods of one node pass the policies as well.
        call("nsenter", f"--net=/run/netns/kn{index}", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1")


def write_configuration(layout: Layout, node: Node) -> None:
    home = layout.run / node.name
    for folder in ("cni/net.d", "kubelet", "manifests", "device-plugins", "logcontainers"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (layout.folder / "ctd").mkdir(exist_ok=True)
    if not mounts(str(home)):
        call("mount", "--bind", str(home), str(home))
        call("mount", "--make-shared", str(home))
    values = {
        "HOME": str(home), "FOLDER": str(layout.folder), "PKI": str(layout.pki), "NODE": node.name,
        "INDEX": str(node.index), "ADDRESS": node.address, "RUN": str(layout.run),
    }  # fmt: skip
    for template, target in (
        ("containerd.toml", home / "containerd.toml"),
        ("bridge.conflist", home / "cni/net.d/10-bridge.conflist"),
        ("kubelet.yaml", home / "kubelet.yaml"),
        ("proxy.yaml", home / "proxy.yaml"),
    ):
        text = (HERE / "templates" / template).read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        target.write_text(text)
    (home / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def make_cgroups(node: Node) -> None:
    for kind in _CGROUPS[:-1]:
        (Path("/sys/fs/cgroup") / kind / node.name).mkdir(exist_ok=True)
    for file in ("cpuset.cpus", "cpuset.mems"):
        parent = Path("/sys/fs/cgroup/cpuset")
        (parent / node.name / file).write_text((parent / file).read_text())
    for folder in ("/var/lib/kubelet/device-plugins", "/var/log/containers"):
        Path(folder).mkdir(parents=True, exist_ok=True)


def remove_node(node: Node) -> None:
    """Its namespace and its cgroups."""
    subprocess.run(["ip", "netns", "del", node.name], check=False, capture_output=True)
    for kind in _CGROUPS:
        _remove_cgroups(Path("/sys/fs/cgroup") / kind / node.name)


def _remove_cgroups(folder: Path) -> None:
    if folder.is_dir():
        for each in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)):
            if each.is_dir():
                with contextlib.suppress(OSError):
                    each.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()
