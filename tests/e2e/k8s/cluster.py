"""A real Kubernetes cluster of two nodes on one machine, without Docker: each node is a network namespace with its own
kubelet and containerd. `python -m tests.e2e.k8s.cluster up|down`, as root, after build.sh and images.sh.

supervisord is the parent of every daemon; everything that is made on the machine (namespaces, mounts, cgroups, sysctls)
is taken away again by `down`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from platformdirs import user_cache_path

from tandem.paths import programs_folder

HERE = Path(__file__).parent
_CGROUPS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified")
# kubelet sets these on the whole machine when it starts.
_SYSCTLS = (
    "vm.overcommit_memory", "vm.panic_on_oom", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys",
    "kernel.keys.root_maxbytes",
)  # fmt: skip
_PATIENCE_SECONDS = 90.0


def cache_folder() -> Path:
    """Programs, images and state of the cluster."""
    return Path(os.environ.get("TANDEM_K8S") or user_cache_path("tandem") / "k8s")


@dataclass(frozen=True)
class Node:
    """`index` is 1 or 2; `gpus` fake devices; `labels` as kubectl takes them."""

    index: int
    gpus: int
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"kn{self.index}"

    @property
    def address(self) -> str:
        return f"172.30.0.{self.index}"


NODES = (Node(1, 2, ("tandem.dev/pool=slm",)), Node(2, 1, ("tandem.dev/pool=llm",)))


class Cluster:
    def __init__(self, folder: Path | None = None, nodes: Sequence[Node] = NODES) -> None:
        self.folder, self.nodes = folder or cache_folder(), tuple(nodes)
        self.bin, self.run = self.folder / "bin", self.folder / "run"
        self.pki, self.kubeconfig = self.run / "pki", self.run / "kubeconfig"

    # -- for tests ------------------------------------------------------------------------------------------------

    def inside(self, *command: str, **options: object) -> subprocess.CompletedProcess[str]:
        """Run a program in the first node's network; raises CalledProcessError with what it said."""
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
        """Everything, until each node is Ready and names resolve."""
        for folder in (self.pki, self.run / "log"):
            folder.mkdir(parents=True, exist_ok=True)
        self._network()
        self._certificates()
        self._kubeconfigs()
        for node in self.nodes:
            self._configure(node)
        before = self.run / "sysctl.before"
        if not before.exists():
            before.write_text(_run("sysctl", *_SYSCTLS))
        (self.run / "supervisord.conf").write_text(self._supervisord())
        _run(sys.executable, "-m", "supervisor.supervisord", "-c", str(self.run / "supervisord.conf"))
        self.start("etcd", "kube-apiserver", *(f"containerd{n.index}" for n in self.nodes))
        wait_for("the API server", lambda: self.kubectl("get", "--raw", "/readyz") == "ok")
        self.start("kube-controller-manager", "kube-scheduler")
        for node in self.nodes:
            self._cgroup(node)
            wait_for(f"containerd of {node.name}", lambda node=node: self._ctr(node, "version"))
            self.load_images(node)
            self.start(f"fakegpu{node.index}", f"kubelet{node.index}", f"kube-proxy{node.index}")
        for node in self.nodes:
            wait_for(f"node {node.name}", lambda node=node: self.kubectl("get", "node", node.name))
            self.kubectl("wait", "--for=condition=Ready", f"node/{node.name}", "--timeout=90s")
            self.kubectl("label", "node", node.name, "--overwrite", *node.labels)
        _run("sysctl", "-q", "-p", str(before))
        self.kubectl("apply", "-f", str(HERE / "coredns.yaml"))
        self.kubectl("-n", "kube-system", "rollout", "status", "deploy/coredns", "--timeout=90s")

    def down(self) -> None:
        """Whatever there is of it."""
        with contextlib.suppress(subprocess.CalledProcessError, FileNotFoundError):
            _run("sysctl", "-q", "-p", str(self.run / "sysctl.before"))
        for node in self.nodes:
            self._stop(f"kubelet{node.index}", f"kube-proxy{node.index}", f"fakegpu{node.index}")
            self._end_containers(node)
        with contextlib.suppress(subprocess.CalledProcessError):
            _run(sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.run / "supervisord.conf"), "shutdown")
        wait_for("supervisord's end", lambda: not (self.run / "supervisor.sock").exists())
        for mount in reversed(_mounts(f"{self.run}/")):
            subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        for mount in _mounts("/run/netns/cni-"):
            subprocess.run(["umount", mount], check=False, capture_output=True)
            Path(mount).unlink(missing_ok=True)
        for node in self.nodes:
            subprocess.run(["ip", "netns", "del", node.name], check=False, capture_output=True)
            for kind in _CGROUPS:
                _remove_cgroups(Path("/sys/fs/cgroup") / kind / node.name)
            shutil.rmtree(self.run / node.name, ignore_errors=True)
        shutil.rmtree(self.run / "etcd", ignore_errors=True)

    def load_images(self, node: Node) -> None:
        """Every archive of the image folder that this node does not have in this version."""
        for archive in sorted((self.folder / "img").glob("*.tar")):
            state = archive.stat()
            stamp = self.folder / "ctd" / f".{node.name}-{archive.stem}-{state.st_mtime_ns}-{state.st_size}"
            if not stamp.exists():
                self._ctr(node, "-n", "k8s.io", "images", "import", str(archive))
                stamp.touch()

    def tag_image(self, image: str, other: str) -> None:
        """Another name for an image, on every node."""
        for node in self.nodes:
            self._ctr(node, "-n", "k8s.io", "images", "tag", "--force", image, other)

    # -- parts ----------------------------------------------------------------------------------------------------

    def _network(self) -> None:
        """Two namespaces and a cable; each routes the other's pods."""
        for index in (1, 2):
            if not Path(f"/run/netns/kn{index}").exists():
                _run("ip", "netns", "add", f"kn{index}")
        if subprocess.run(["ip", "-n", "kn1", "link", "show", "eth1"], capture_output=True, check=False).returncode:
            _run("ip", "link", "add", "eth1", "netns", "kn1", "type", "veth", "peer", "name", "eth1", "netns", "kn2")
        for index in (1, 2):
            other, ip = 3 - index, ("ip", "-n", f"kn{index}")
            _run(*ip, "link", "set", "lo", "up")
            _run(*ip, "addr", "replace", f"172.30.0.{index}/24", "dev", "eth1")
            _run(*ip, "link", "set", "eth1", "up")
            _run(*ip, "route", "replace", "default", "via", f"172.30.0.{other}")
            _run(*ip, "route", "replace", f"10.244.{other}.0/24", "via", f"172.30.0.{other}")
            _run("nsenter", f"--net=/run/netns/kn{index}", "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def _certificates(self) -> None:
        if (self.pki / "ca.crt").exists():
            return
        ca = ["openssl", "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _run(*ca, "-subj", "/CN=test-ca", "-days", "365", "-keyout", f"{self.pki}/ca.key", "-out", f"{self.pki}/ca.crt")
        names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
        self.certificate("apiserver", "/CN=kube-apiserver", f"{names},IP:127.0.0.1,IP:172.30.0.1,IP:10.96.0.1")
        self.certificate("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
        self.certificate("front-proxy", "/CN=front-proxy")
        for node in self.nodes:
            subject = f"/O=system:nodes/CN=system:node:{node.name}"
            self.certificate(f"kubelet{node.index}", subject, f"DNS:{node.name},IP:{node.address}")
        _run("openssl", "genrsa", "-out", f"{self.pki}/sa.key", "2048")
        _run("openssl", "rsa", "-in", f"{self.pki}/sa.key", "-pubout", "-out", f"{self.pki}/sa.pub")
        tokens = ['admintoken,admin,admin,"system:masters"', 'proxytoken,system:kube-proxy,kp,""']
        tokens += [f'node{n.index}token,system:node:{n.name},n{n.index},"system:nodes"' for n in self.nodes]
        (self.pki / "tokens.csv").write_text("\n".join(tokens) + "\n")

    def certificate(self, name: str, subject: str, alternative: str = "") -> None:
        """`name`.key and `name`.crt, signed by the cluster's authority."""
        key, request, made = (f"{self.pki}/{name}.{end}" for end in ("key", "csr", "crt"))
        new = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        _run(*new, "-subj", subject, "-keyout", key, "-out", request)
        extensions = self.pki / f"{name}.ext"
        extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
        sign = ["openssl", "x509", "-req", "-in", request, "-CA", f"{self.pki}/ca.crt", "-CAkey", f"{self.pki}/ca.key"]
        _run(*sign, "-CAcreateserial", "-days", "365", "-extfile", str(extensions), "-out", made)

    def _kubeconfigs(self) -> None:
        users = {"": "admintoken", ".proxy": "proxytoken", **{f".{n.name}": f"node{n.index}token" for n in self.nodes}}
        for end, token in users.items():
            Path(f"{self.kubeconfig}{end}").write_text(
                "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
                f'clusters: [{{name: c, cluster: {{server: "https://172.30.0.1:6443", certificate-authority: "{self.pki}/ca.crt"}}}}]\n'
                f"users: [{{name: u, user: {{token: {token}}}}}]\n"
                "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
            )

    def _configure(self, node: Node) -> None:
        home = self.run / node.name
        for folder in ("cni/net.d", "kubelet", "manifests", "device-plugins", "logcontainers"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (self.folder / "ctd").mkdir(exist_ok=True)
        if not _mounts(str(home)):
            _run("mount", "--bind", str(home), str(home))
            _run("mount", "--make-shared", str(home))
        values = {
            "HOME": str(home), "FOLDER": str(self.folder), "PKI": str(self.pki), "NODE": node.name,
            "INDEX": str(node.index), "ADDRESS": node.address, "RUN": str(self.run),
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

    def _supervisord(self) -> str:
        sections = [
            "[supervisord]", f"logfile={self.run}/supervisord.log", f"pidfile={self.run}/supervisord.pid",
            "[unix_http_server]", f"file={self.run}/supervisor.sock",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]", f"serverurl=unix://{self.run}/supervisor.sock",
        ]  # fmt: skip
        for name, (namespace, command) in self._daemons().items():
            log = self.run / "log" / f"{name}.log"
            sections += [
                f"[program:{name}]",
                f"command=nsenter --net=/run/netns/{namespace} {command}".replace("%", "%%"),
                "autostart=false", "autorestart=false", "startsecs=0", "stopwaitsecs=10",
                f"stdout_logfile={log}", "redirect_stderr=true", "stdout_logfile_maxbytes=0",
            ]  # fmt: skip
        return "\n".join(sections) + "\n"

    def _daemons(self) -> dict[str, tuple[str, str]]:
        """(namespace, command) of each, by name."""
        b, p, config = self.bin, self.pki, self.kubeconfig
        authorised = f"--authentication-kubeconfig={config} --authorization-kubeconfig={config}"
        found = {
            "etcd": (
                "kn1",
                f"{b}/etcd --name t --data-dir {self.run}/etcd --listen-client-urls http://127.0.0.1:2379 "
                "--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 "
                "--initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster t=http://127.0.0.1:2380 --unsafe-no-fsync",
            ),
            "kube-apiserver": (
                "kn1",
                f"{b}/kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address=0.0.0.0 --secure-port=6443 "
                f"--advertise-address=172.30.0.1 --service-cluster-ip-range=10.96.0.0/16 --cert-dir={p} "
                f"--tls-cert-file={p}/apiserver.crt --tls-private-key-file={p}/apiserver.key --client-ca-file={p}/ca.crt "
                f"--token-auth-file={p}/tokens.csv --service-account-issuer=https://kubernetes.default.svc "
                f"--service-account-key-file={p}/sa.pub --service-account-signing-key-file={p}/sa.key "
                f"--kubelet-preferred-address-types=InternalIP --kubelet-client-certificate={p}/kubelet-client.crt "
                f"--kubelet-client-key={p}/kubelet-client.key --kubelet-certificate-authority={p}/ca.crt "
                f"--requestheader-client-ca-file={p}/ca.crt --requestheader-allowed-names=front-proxy "
                "--requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group "
                f"--requestheader-extra-headers-prefix=X-Remote-Extra- --proxy-client-cert-file={p}/front-proxy.crt "
                f"--proxy-client-key-file={p}/front-proxy.key --authorization-mode=Node,RBAC "
                "--enable-admission-plugins=NodeRestriction --allow-privileged=true",
            ),
            "kube-controller-manager": (
                "kn1",
                f"{b}/kube-controller-manager --kubeconfig={config} --bind-address=127.0.0.1 --leader-elect=false "
                f"--service-account-private-key-file={p}/sa.key --root-ca-file={p}/ca.crt {authorised}",
            ),
            "kube-scheduler": (
                "kn1",
                f"{b}/kube-scheduler --kubeconfig={config} --bind-address=127.0.0.1 --leader-elect=false {authorised}",
            ),
        }
        found["kserve-manager"] = (
            "kn1",
            f"env HOME={self.run} TMPDIR={self.run}/kserve POD_NAMESPACE=kserve KUBECONFIG={config} {b}/kserve-manager --metrics-addr=127.0.0.1:8095",
        )
        for node in self.nodes:
            i, home = node.index, self.run / node.name
            # The device-plugin folder and /var/log/containers are fixed in kubelet: each has its own, in a mount namespace.
            prepare = (
                f"mount --bind {home}/device-plugins /var/lib/kubelet/device-plugins && "
                f"mount --bind {home}/logcontainers /var/log/containers"
            )
            kubelet = (
                f"{b}/kubelet --config {home}/kubelet.yaml --kubeconfig {config}.{node.name} --root-dir {home}/kubelet "
                f"--cert-dir {home}/kubelet/pki --hostname-override {node.name} --node-ip {node.address} -v 2"
            )
            found[f"containerd{i}"] = (node.name, f"containerd --config {home}/containerd.toml")
            found[f"fakegpu{i}"] = (node.name, f"{b}/fakegpu {home}/kubelet {node.gpus}")
            found[f"kubelet{i}"] = (
                node.name,
                f"unshare -m --propagation unchanged sh -c '{prepare} && exec {kubelet}'",
            )
            found[f"kube-proxy{i}"] = (node.name, f"{b}/kube-proxy --config {home}/proxy.yaml")
        return found

    def _cgroup(self, node: Node) -> None:
        for kind in _CGROUPS[:-1]:
            (Path("/sys/fs/cgroup") / kind / node.name).mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            parent = Path("/sys/fs/cgroup/cpuset")
            (parent / node.name / file).write_text((parent / file).read_text())
        for folder in ("/var/lib/kubelet/device-plugins", "/var/log/containers"):
            Path(folder).mkdir(parents=True, exist_ok=True)

    def _end_containers(self, node: Node) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            for task in self._ctr(node, "-n", "k8s.io", "tasks", "ls", "-q").split():
                subprocess.run(
                    self._ctr_words(node, "-n", "k8s.io", "tasks", "rm", "-f", task), check=False, capture_output=True
                )
            for container in self._ctr(node, "-n", "k8s.io", "containers", "ls", "-q").split():
                subprocess.run(
                    self._ctr_words(node, "-n", "k8s.io", "containers", "rm", container),
                    check=False,
                    capture_output=True,
                )

    def _ctr_words(self, node: Node, *arguments: str) -> list[str]:
        return ["ctr", "-a", f"{self.run}/{node.name}/containerd.sock", *arguments]

    def _ctr(self, node: Node, *arguments: str) -> str:
        return _run(*self._ctr_words(node, *arguments))

    def start(self, *names: str) -> None:
        """Start daemons (`_daemons`)."""
        _run(
            sys.executable, "-m", "supervisor.supervisorctl", "-c", str(self.run / "supervisord.conf"), "start", *names
        )

    def _stop(self, *names: str) -> None:
        command = [
            sys.executable,
            "-m",
            "supervisor.supervisorctl",
            "-c",
            str(self.run / "supervisord.conf"),
            "stop",
            *names,
        ]
        subprocess.run(command, check=False, capture_output=True)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_for(what: str, condition: Callable[[], object], seconds: float = _PATIENCE_SECONDS) -> None:
    """Until it is true; a program that fails meanwhile is asked again. Raises TimeoutError."""
    give_up = time.monotonic() + seconds
    while True:
        with contextlib.suppress(subprocess.CalledProcessError, RuntimeError):
            if condition():
                return
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def _mounts(prefix: str) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return sorted(point for line in lines if (point := line.split()[4]).startswith(prefix))


def _remove_cgroups(folder: Path) -> None:
    if folder.is_dir():
        for each in sorted(folder.rglob("*"), key=lambda p: -len(p.parts)):
            if each.is_dir():
                with contextlib.suppress(OSError):
                    each.rmdir()
        with contextlib.suppress(OSError):
            folder.rmdir()


if __name__ == "__main__":
    getattr(Cluster(), sys.argv[1])()
