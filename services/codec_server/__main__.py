"""Start the codec server: `python -m services.codec_server`; `tandem codec-server` calls it."""

from __future__ import annotations

import logging

import uvicorn
from pydantic import Field, field_validator

from services.codec_server.service import CodecService, make_app
from services.shared.identity.authentication import Authentication, IdentitySettings, is_loopback
from services.shared.observability import tracing
from services.shared.process.http_server import http_config
from services.shared.process.settings import Names, ProcessSettings, read_settings
from services.shared.process.start import bound_socket, explained_start
from services.shared.process.temporal import EncryptionCodec
from services.shared.sealing.keys import read_keys
from tandem.errors import SetupError

logger = logging.getLogger(__name__)


class CodecServerSettings(ProcessSettings):
    origins: Names = Field(
        (),
        validation_alias="TANDEM_CODEC_ORIGINS",
        description="origins whose pages may ask, such as Temporal's http://127.0.0.1:8233; separated by commas",
    )

    @field_validator("origins")
    @classmethod
    def _without_slash(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin.rstrip("/") for origin in origins)


def authentication(host: str, identity: IdentitySettings) -> Authentication:
    """Raises ValueError where anyone beyond this machine could read every question; no setting allows that. Raises
    KeyFileError.
    """
    if not (identity.api_keys or identity.oidc_issuer or is_loopback(host)):
        raise ValueError(
            f"anyone who reaches {host} could read every question: set TANDEM_API_KEYS (a file with a key of "
            "`tandem keys create NAME --role admin`) or TANDEM_OIDC_ISSUER"
        )
    return identity.authentication(host)


def main() -> None:
    settings = read_settings(CodecServerSettings)
    tracing.setup("tandem-codec-server", settings.log_level)
    try:
        keys = read_keys(settings.payload_keys)
        checked = authentication(settings.host, read_settings(IdentitySettings))
    except ValueError as error:
        raise SetupError(str(error)) from error
    if keys is None:
        raise SetupError(
            "TANDEM_PAYLOAD_KEYS is not set: it names the file of the keys that payloads are encrypted with"
        )
    service = CodecService(EncryptionCodec(keys), checked, settings.origins)
    logger.info(
        "decodes on %s:%d; %s", settings.host, settings.port, "asks for a key" if checked.is_on else "asks nobody"
    )
    config = http_config(make_app(service, settings.origins), settings.host, settings.port)
    uvicorn.Server(config).run([bound_socket(settings.host, settings.port)])
    tracing.shutdown()


if __name__ == "__main__":
    with explained_start():
        main()
