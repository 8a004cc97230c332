"""Temporal is found by its own variables, a cloud's included."""

from __future__ import annotations

from services.shared.process.temporal import connect_config


def test_without_any_variable_it_is_the_local_server() -> None:
    assert connect_config({})["target_host"] == "127.0.0.1:7233"


def test_a_cloud_is_reached_by_address_namespace_and_key() -> None:
    config = connect_config(
        {
            "TEMPORAL_ADDRESS": "eu.api.temporal.io:7233",
            "TEMPORAL_NAMESPACE": "tandem.acct",
            "TEMPORAL_API_KEY": "secret",
        }
    )
    assert (config["target_host"], config["namespace"]) == ("eu.api.temporal.io:7233", "tandem.acct")
    assert config["api_key"] == "secret"
    assert config["tls"]  # a key never travels in the clear


def test_certificates_are_read_from_files(tmp_path) -> None:
    for name in ("ca", "cert", "key"):
        (tmp_path / name).write_text(name)
    config = connect_config(
        {
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(tmp_path / "ca"),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(tmp_path / "cert"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(tmp_path / "key"),
        }
    )
    assert config["tls"].server_root_ca_cert == b"ca"
    assert config["tls"].client_private_key == b"key"
