"""A real Kubernetes cluster of two nodes on one machine, without Docker: each node is a network namespace with its own
kubelet and containerd. `python -m tests.e2e.k8s up`, `down`, as root, after build.sh and images.sh.

supervisord is the parent of every daemon; `down` removes whatever was made on the machine (namespaces, mounts, cgroups,
sysctls).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tandem.paths import programs_folder
from tests.e2e.k8s.containers import ctr, end_containers, load_images
from tests.e2e.k8s.daemons import supervisord_configuration
from tests.e2e.k8s.layout import HERE, Layout, call, mounts, wait_for
from tests.e2e.k8s.node import connect_nodes, make_cgroups, remove_node, write_configuration
from tests.e2e.k8s.pki import write_certificates, write_kubeconfigs

# kubelet sets these on the whole machine when it starts.
_SYSCTLS = (
    "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)  # fmt: skip

_PROGRAMS = ("containerd", "runc", "ip", "iptables", "ipset", "nft", "nsenter")


class Cluster(Layout):
    # -- for tests ------------------------------------------------------------------------------------------------

    def inside(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a program in the first node's network; raises RuntimeError with what it printed."""
        words = ["nsenter", "--net=/run/netns/kn1", *command]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.run)}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
        if done.returncode:
            raise RuntimeError(
                f"{' '.join(command[:6])} ... ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done

    def kubectl(self, *arguments: str, **options: object) -> str:
        return self.inside(str(programs_folder() / "kubectl"), *arguments, **options).stdout

    def helm(self, *arguments: str, **options: object) -> str:
        return self.inside(str(programs_folder() / "helm"), *arguments, **options).stdout

    def apply(self, objects: list[dict[str, Any]]) -> None:
        words = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        self.kubectl(*words, input=yaml.safe_dump_all(objects))

    @property
    def is_up(self) -> bool:
        return (self.run / "supervisor.sock").exists()

    # -- life -----------------------------------------------------------------------------------------------------

    def up(self) -> None:
        """Everything, until each node is Ready and names resolve. Raises RuntimeError where the machine lacks a
        program, and where it is up.
        """
        if self.is_up:
            raise RuntimeError("the test cluster is up already: `python -m tests.e2e.k8s down` ends it")
        if missing := [program for program in _PROGRAMS if not shutil.which(program)]:
            raise RuntimeError(
                f"the test cluster needs {', '.join(missing)}: docs/results.md says what must be installed"
            )
        for folder in (self.pki, self.run / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        connect_nodes()
        write_certificates(self)
        write_kubeconfigs(self)
        for node in self.nodes:
            write_configuration(self, node)
        before = self.run / "sysctl.before"
        if not before.exists():
            before.write_text(call("sysctl", *_SYSCTLS))
        (self.run / "supervisord.conf").write_text(supervisord_configuration(self))
        self._supervise("supervisord")
        self.start("etcd", "kube-apiserver", *(f"containerd{n.index}" for n in self.nodes))
        wait_for("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        self.start("kube-controller-manager", "kube-scheduler")
        for node in self.nodes:
            make_cgroups(node)
            wait_for(f"containerd of {node.name}", lambda node=node: ctr(self, node, "version"))
            load_images(self, node)
            self.start(f"fakegpu{node.index}", f"kubelet{node.index}", f"kube-proxy{node.index}")
        for node in self.nodes:
            wait_for(f"node {node.name}", lambda node=node: self.kubectl("get", "node", node.name))
            self.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=90s")
            self.kubectl("label", "node", node.name, "--overwrite", *node.labels)
            self.start(f"kube-router{node.index}")
        call("sysctl", "-q", "-p", str(before))
        self.kubectl("apply", "-f", str(HERE / "coredns.yaml"))
        self.kubectl("-n", "kube-system", "rollout", "status", "deploy/coredns", "--timeout=90s")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(self.folder / "crds"))

    def down(self) -> None:
        """Whatever there is of it."""
        with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
            call("sysctl", "-q", "-p", str(self.run / "sysctl.before"))
        for node in self.nodes:
            self._stop(*(f"{name}{node.index}" for name in ("kubelet", "kube-router", "kube-proxy", "fakegpu")))
            end_containers(self, node)
        with contextlib.suppress(subprocess.CalledProcessError):
            self._supervise("supervisorctl", "shutdown")
        wait_for("supervisord's end", lambda: not (self.run / "supervisor.sock").exists())
        for mount in reversed(mounts(f"{self.run}/")):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        for mount in mounts("/run/netns/cni-"):
            subprocess.run(["umount", mount], check=False, capture_output=True)
            Path(mount).unlink(missing_ok=True)
        for node in self.nodes:
            remove_node(node)
            shutil.rmtree(self.run / node.name, ignore_errors=True)
        shutil.rmtree(self.run / "etcd", ignore_errors=True)

    # -- parts -----------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """Start daemons, by their names in daemons.py."""
        self._supervise("supervisorctl", "start", *names)

    def _stop(self, *names: str) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._supervise("supervisorctl", "stop", *names)

    def _supervise(self, program: str, *arguments: str) -> None:
        call(sys.executable, "-m", f"supervisor.{program}", "-c", str(self.run / "supervisord.conf"), *arguments)
