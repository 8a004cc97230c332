"""The cluster's certificate authority, its certificates, and a kubeconfig for each of its users."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.k8s.layout import Layout, call


def write_certificates(layout: Layout) -> None:
    if (layout.pki / "ca.crt").exists():
        return
    ca = ["openssl", "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    call(*ca, "-subj", "/CN=test-ca", "-days", "365", "-keyout", f"{layout.pki}/ca.key", "-out", f"{layout.pki}/ca.crt")
    names = "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc"
    write_certificate(layout, "apiserver", "/CN=kube-apiserver", f"{names},IP:127.0.0.1,IP:172.30.0.1,IP:10.96.0.1")
    write_certificate(layout, "kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    write_certificate(layout, "front-proxy", "/CN=front-proxy")
    for node in layout.nodes:
        subject = f"/O=system:nodes/CN=system:node:{node.name}"
        write_certificate(layout, f"kubelet{node.index}", subject, f"DNS:{node.name},IP:{node.address}")
    call("openssl", "genrsa", "-out", f"{layout.pki}/sa.key", "2048")
    call("openssl", "rsa", "-in", f"{layout.pki}/sa.key", "-pubout", "-out", f"{layout.pki}/sa.pub")
    tokens = ['admintoken,admin,admin,"system:masters"', 'proxytoken,system:kube-proxy,kp,""']
    tokens += [f'node{n.index}token,system:node:{n.name},n{n.index},"system:nodes"' for n in layout.nodes]
    (layout.pki / "tokens.csv").write_text("\n".join(tokens) + "\n")


def write_certificate(layout: Layout, name: str, subject: str, alternative: str = "") -> None:
    """`name`.key and `name`.crt, signed by the cluster's authority."""
    key, request, signed = (f"{layout.pki}/{name}.{end}" for end in ("key", "csr", "crt"))
    new = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    call(*new, "-subj", subject, "-keyout", key, "-out", request)
    extensions = layout.pki / f"{name}.ext"
    extensions.write_text(f"subjectAltName={alternative}\n" if alternative else "")
    sign = ["openssl", "x509", "-req", "-in", request, "-CA", f"{layout.pki}/ca.crt", "-CAkey", f"{layout.pki}/ca.key"]
    call(*sign, "-CAcreateserial", "-days", "365", "-extfile", str(extensions), "-out", signed)


def write_kubeconfigs(layout: Layout) -> None:
    users = {"": "admintoken", ".proxy": "proxytoken", **{f".{n.name}": f"node{n.index}token" for n in layout.nodes}}
    for end, token in users.items():
        Path(f"{layout.kubeconfig}{end}").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\n"
            f'clusters: [{{name: c, cluster: {{server: "https://172.30.0.1:6443", certificate-authority: '
            f'"{layout.pki}/ca.crt"}}}}]\n'
            f"users: [{{name: u, user: {{token: {token}}}}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
        )
