"""How a process reaches Redis, by variables whose names are Redis's own where it has any."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import Field, FilePath, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.shared.process.settings import read_settings
from services.shared.request_log.log import RequestLog
from services.shared.request_log.servers import Access, Certificates, Login, check_url

if TYPE_CHECKING:  # the library is loaded where there are keys
    from services.shared.sealing.sealer import Sealer

REQUEST_TTL = timedelta(minutes=15)
"""How long Redis keeps a request to which nothing is written."""


class RedisSettings(BaseSettings):
    """An empty user is Redis's `default`. A file of a password wins over the password."""

    model_config = SettingsConfigDict(frozen=True, populate_by_name=True, extra="ignore", env_ignore_empty=True)

    url: str = Field(
        "redis://127.0.0.1:6379/0",
        validation_alias="REDIS_URL",
        description="redis://host:port/db, redis+sentinel://host:port,host:port/service, "
        "redis+cluster://host:port,host:port; rediss for TLS",
    )
    username: str = Field("", validation_alias="REDIS_USERNAME", description="wins over the URL's")
    password: str = Field("", validation_alias="REDIS_PASSWORD", repr=False, description="wins over the URL's")
    password_file: FilePath | None = Field(
        None, validation_alias="REDIS_PASSWORD_FILE", description="wins over the password"
    )
    sentinel_username: str = Field("", validation_alias="REDIS_SENTINEL_USERNAME", description="of the Sentinels")
    sentinel_password: str = Field(
        "", validation_alias="REDIS_SENTINEL_PASSWORD", repr=False, description="of the Sentinels"
    )
    sentinel_password_file: FilePath | None = Field(
        None, validation_alias="REDIS_SENTINEL_PASSWORD_FILE", description="of the Sentinels; wins over the password"
    )
    ca_file: FilePath | None = Field(
        None, validation_alias="REDIS_CA_FILE", description="of the servers' certificates; empty: the system's"
    )
    certificate_file: FilePath | None = Field(
        None, validation_alias="REDIS_CERT_FILE", description="this process's own, where Redis asks for one"
    )
    key_file: FilePath | None = Field(None, validation_alias="REDIS_KEY_FILE", description="of that certificate")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        check_url(url)
        return url

    @property
    def access(self) -> Access:
        return Access(
            Login(self.username, self.password, self.password_file),
            Login(self.sentinel_username, self.sentinel_password, self.sentinel_password_file),
            Certificates(self.ca_file, self.certificate_file, self.key_file),
        )


def open_request_log(sealer: Sealer | None) -> RequestLog:
    """Open the request log by this process's environment; ends the process where that makes no sense. `sealer`
    encrypts the text; None: nothing is.
    """
    settings = read_settings(RedisSettings)
    return RequestLog(settings.url, REQUEST_TTL, settings.access, sealer)
