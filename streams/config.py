"""Settings of a process: environment variables EHPS_*, else what `ehps up` or `make stack` wrote, else defaults."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from streams.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

STACK_FILE = "stack.json"
_BROKER = re.compile(r"[^\s,/:]+:\d{1,5}|\[[0-9a-fA-F:.]+\]:\d{1,5}", re.ASCII)
_PASSWORD = re.compile(r"//[^@/]*@")


BATCH_RECORDS = 4000
"""So many at once spare the waits for Redis and broker; a few megabytes travel then in one exchange with Redis."""


class Settings(BaseSettings):
    """One frozen object a process, read once and passed down."""

    model_config = SettingsConfigDict(env_prefix="EHPS_", frozen=True, extra="ignore")

    kafka: str = Field(
        default="127.0.0.1:9092", description="Bootstrap servers, host:port, comma separated."
    )
    redis: str = Field(
        default="redis://127.0.0.1:6379/0",
        description="Redis or Valkey, as a URL; of a cluster any node, or several with commas.",
    )
    embedded: bool = Field(
        default=False, description="The broker is the embedded one, which keeps 5 MiB a partition."
    )
    data_dir: Path = Field(
        default=Path(".ehps"), description="Folder of stack.json, segments and logs."
    )
    segments: Path | None = Field(
        default=None, description="Folder of the embedded stack's segments."
    )
    log_partitions: int = Field(
        default=64, ge=1, le=4096, description="Partitions of the log, for `topics apply`."
    )
    group_prefix: str = Field(
        default="ehps", pattern=r"^[a-z0-9-]{1,40}$", description="Prefix of consumer groups."
    )
    heartbeat_s: float = Field(
        default=60.0, gt=0, le=300, description="Seconds between live heartbeats."
    )
    sweep_s: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds between sweeps of parked events."
    )
    batch_records: int = Field(
        default=BATCH_RECORDS, ge=1, le=10_000, description="Records read at once."
    )
    poll_s: float = Field(default=0.5, gt=0, le=10, description="Longest wait for the next record.")
    log_level: str = Field(
        default="info", pattern=r"^(debug|info|warning|error)$", description="Least level logged."
    )
    content: Path | None = Field(
        default=None,
        description="Folder of a council's own releases, combinations, policies and calendars.",
    )
    metrics_port: int = Field(
        default=0, ge=0, le=65_535, description="Port of /metrics, /healthz and /ready; 0: none."
    )
    metrics_host: str = Field(
        default="127.0.0.1", description="Address that these pages are served on."
    )
    drain_s: float = Field(
        default=20.0, ge=1, le=300, description="Seconds from SIGTERM to the end, at most."
    )
    stall_s: float = Field(
        default=180.0,
        ge=5,
        le=3600,
        description="Seconds without progress after which a worker ends itself.",
    )
    pseudonym_key: SecretStr | None = Field(
        default=None, description="Key of pseudonyms made by importers."
    )

    @field_validator("kafka")
    @classmethod
    def _brokers(cls, value: str) -> str:
        if not all(_BROKER.fullmatch(part.strip()) for part in value.split(",")):
            raise ValueError("send host:port, several with commas between, such as 127.0.0.1:9092")
        return value

    @field_validator("redis")
    @classmethod
    def _server(cls, value: str) -> str:
        if not _is_redis(value):
            raise ValueError("send a URL such as redis://127.0.0.1:6379/0")
        return value

    @property
    def intake_group(self) -> str:
        """Group of the intake."""
        return f"{self.group_prefix}-intake"

    @property
    def scorer_group(self) -> str:
        """Group of the scorers."""
        return f"{self.group_prefix}-scorer"

    @property
    def agents_group(self) -> str:
        """Group of the Faust agents."""
        return f"{self.group_prefix}-agents"

    @property
    def fetch_wait_ms(self) -> int:
        """Longest that the broker holds back an empty answer: the embedded one does not wake for a record."""
        return 4 if self.embedded else 100

    def environment(self) -> dict[str, str]:
        """The same settings as environment variables, for child processes."""
        plain = {
            name: value for name, value in self if value is not None and name != "pseudonym_key"
        }
        return {f"EHPS_{name.upper()}": str(value) for name, value in plain.items()}


def _is_redis(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, or too large
        return False
    return (named and parts.scheme in {"redis", "rediss"}) or parts.scheme == "unix"


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process. Flags win over the environment, the environment over a running stack's file.

    Args:
        overrides: from flags; None means not given.

    Raises:
        ConfigError: a value is not legal; the message names its variable.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    settings = _checked(given)
    path = settings.data_dir / STACK_FILE
    if not path.exists():
        return settings
    try:
        stack = json.loads(path.read_text())
        found = {name: stack[name] for name in _IN_STACK_FILE if name in stack}
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: delete it and start the stack again") from error
    return _checked({**found, **_from_environment(), **given})


_IN_STACK_FILE = ("kafka", "redis", "embedded", "segments")


def _checked(values: dict[str, Any]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigError(_sentence(first)) from error


def _sentence(found: ErrorDetails) -> str:
    name = str(found["loc"][0]) if found["loc"] else ""
    if name not in Settings.model_fields:
        return f"settings: {found['msg']}"
    said = f"EHPS_{name.upper()} is {_PASSWORD.sub('//', str(found['input'])[:80])!r}"
    ours = found.get("ctx", {}).get("error")
    if isinstance(ours, ValueError):
        return f"{said}, by flag, environment or stack file: {ours}."
    return f"{said}: {found['msg'].lower()} ({Settings.model_fields[name].description})"


def _from_environment() -> dict[str, Any]:
    environment = _checked({})
    return {name: getattr(environment, name) for name in environment.model_fields_set}
