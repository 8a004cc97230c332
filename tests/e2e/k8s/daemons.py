"""The cluster's daemons, as one supervisord runs them."""

from __future__ import annotations

from tests.e2e.k8s.layout import Layout, Node


def supervisord_configuration(layout: Layout) -> str:
    sections = [
        "[supervisord]", f"logfile={layout.run}/supervisord.log", f"pidfile={layout.run}/supervisord.pid",
        "[unix_http_server]", f"file={layout.run}/supervisor.sock",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface",
        "[supervisorctl]", f"serverurl=unix://{layout.run}/supervisor.sock",
    ]  # fmt: skip
    for name, (namespace, command) in daemons(layout).items():
        log = layout.run / "log" / f"{name}.log"
        sections += [
            f"[program:{name}]",
            f"command=nsenter --net=/run/netns/{namespace} {command}".replace("%", "%%"),
            "autostart=false", "autorestart=false", "startsecs=0", "stopwaitsecs=10",
            f"stdout_logfile={log}", "redirect_stderr=true", "stdout_logfile_maxbytes=0",
        ]  # fmt: skip
    return "\n".join(sections) + "\n"


def daemons(layout: Layout) -> dict[str, tuple[str, str]]:
    """(namespace, command) of each, by name."""
    b, p, config = layout.bin, layout.pki, layout.kubeconfig
    authorised = f"--authentication-kubeconfig={config} --authorization-kubeconfig={config}"
    found = {
        "etcd": (
            "kn1",
            f"{b}/etcd --name t --data-dir {layout.run}/etcd --listen-client-urls http://127.0.0.1:2379 "
            "--advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 "
            "--initial-advertise-peer-urls http://127.0.0.1:2380 --initial-cluster t=http://127.0.0.1:2380 "
            "--unsafe-no-fsync",
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
    for node in layout.nodes:
        found |= _node_daemons(layout, node)
    return found


def _node_daemons(layout: Layout, node: Node) -> dict[str, tuple[str, str]]:
    b, config, i, home = layout.bin, layout.kubeconfig, node.index, layout.run / node.name
    # The device-plugin folder and /var/log/containers are fixed in kubelet: each has its own, in a mount namespace.
    prepare = (
        f"mount --bind {home}/device-plugins /var/lib/kubelet/device-plugins && "
        f"mount --bind {home}/logcontainers /var/log/containers"
    )
    kubelet = (
        f"{b}/kubelet --config {home}/kubelet.yaml --kubeconfig {config}.{node.name} --root-dir {home}/kubelet "
        f"--cert-dir {home}/kubelet/pki --hostname-override {node.name} --node-ip {node.address} -v 2"
    )
    # Policies alone: pods are routed by node.py, and services are kube-proxy's.
    firewall = (
        f"{b}/kube-router --kubeconfig={config} --hostname-override={node.name} --run-firewall=true --run-router=false "
        "--run-service-proxy=false --enable-cni=false --service-cluster-ip-range=10.96.0.0/16 "
        "--iptables-sync-period=5s "
        "--metrics-port=0 --health-port=0"
    )
    return {
        f"containerd{i}": (node.name, f"containerd --config {home}/containerd.toml"),
        f"fakegpu{i}": (node.name, f"{b}/fakegpu {home}/kubelet {node.gpus}"),
        f"kubelet{i}": (node.name, f"unshare -m --propagation unchanged sh -c '{prepare} && exec {kubelet}'"),
        f"kube-proxy{i}": (node.name, f"{b}/kube-proxy --config {home}/proxy.yaml"),
        f"kube-router{i}": (node.name, firewall),
    }
