"""The only room that reads the environment: every setting of every Tally process.

Each field is `TALLY_<NAME>` in the environment. Where the environment is silent, a file of that
name in the folder of secrets answers (containers get their passwords so), and then the running
local stack by `<home>/settings.json`, which `tally up` writes; an endpoint that none of them names
is an error and never a default, so that no command reaches a warehouse that nobody asked for.
"""

import os
import sys
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    JsonConfigSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from tally.errors import TallyError

ActiveDayDefinition = Literal["all_actions", "daily_login"]
# The engines that the dbt project builds on.
Target = Literal["clickhouse", "postgres", "duckdb"]

STACK_SETTINGS = "settings.json"

# What a process needs of its surroundings; anything else of a caller's shell stays with the caller.
_PASSED_ON = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "TMPDIR",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "ENABLE_LEGACY_GAMES_WS",
    ]
)


class Settings(BaseSettings):
    """What a Tally process needs to know. Durations carry their unit in the name."""

    model_config = SettingsConfigDict(env_prefix="TALLY_", extra="ignore", frozen=True)

    home: Path = Field(Path(".tally"), description="Where the local stack keeps its state.")

    secrets: Path = Field(
        Path("/run/secrets"),
        description="A folder of files named as variables (`tally_clickhouse_password`), each with "
        "a value; what is not there is not asked for.",
    )

    clickhouse_url: str | None = Field(None, description="http(s)://host:port of the warehouse.")
    clickhouse_user: str = "default"
    clickhouse_password: SecretStr = SecretStr("")
    clickhouse_analyst_password: SecretStr = Field(
        SecretStr(""),
        description="Of the embedded warehouse's user `analyst`, who only reads. Where the "
        "warehouse has a password and this is empty, there is no such user.",
    )
    kafka_bootstrap: str | None = Field(None, description="host:port[,host:port...]")
    postgres_url: str | None = Field(
        None, description="postgresql://... of the backend's system of record, if there is one."
    )
    export_folder: Path | None = Field(
        None, description="What `tally export` wrote, from which the target duckdb is built."
    )
    backup_folder: Path | None = Field(
        None, description="Where the nightly backups of raw go. [default: <home>/backups]"
    )
    api_url: str | None = None
    dagster_url: str | None = None
    prometheus_url: str | None = None
    alertmanager_url: str | None = None
    prometheus_interval_seconds: int = Field(
        15, ge=1, description="Between two scrapes and two evaluations of the stack's Prometheus."
    )
    dagster_postgres_url: str | None = Field(
        None,
        description="postgresql+psycopg2://... where Dagster keeps its runs. [default: SQLite "
        "files in <home>/dagster]",
    )

    actions_topic: str = "user-actions"
    dead_letter_topic: str = "user-actions.dlq"
    updates_topic: str = "stats-updates"
    topic_partitions: int = Field(12, ge=1)
    ingest_group: str = "tally-ingest"
    kafka_max_unread_bytes: int | None = Field(
        None,
        description="Producers of the command line wait while a partition holds more unread bytes "
        "than this. The local stack sets it: its broker forgets what is over about 5 MiB.",
    )

    ingest_instance: str | None = Field(
        None,
        description="A name of this consumer that outlives its process: what starts again under it "
        "takes up its partitions at once, without a rebalance (static membership).",
    )
    ingest_max_rows: int = Field(100_000, ge=1, description="Rows that close a batch.")
    ingest_max_bytes: int = Field(24 * 2**20, ge=1, description="Message bytes that close a batch.")
    ingest_linger_ms: int = Field(50, ge=0, description="The age that closes a batch.")
    ingest_max_dead_ratio: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Ingestion pauses where more of the last minute's messages are bad; 1: never.",
    )
    ingest_drain_seconds: float = Field(
        15,
        gt=0,
        le=50,  # the group waits 60 s for a member that gives partitions back
        description="How long SIGTERM and a rebalance wait for a batch that is under way; keep it "
        "under the time that your orchestrator leaves before SIGKILL.",
    )
    ingest_metrics_port: int | None = Field(
        None, description="Port of ingestion's /metrics, /healthz and /readyz."
    )
    exporter_metrics_port: int | None = Field(
        None, description="Port of /metrics of `tally metrics-exporter`."
    )
    metrics_host: str = Field(
        "127.0.0.1",
        description="Where every process listens for Prometheus; in a container 0.0.0.0, of which "
        "no port is published.",
    )

    active_day_definition: ActiveDayDefinition = "all_actions"
    api_host: str = "127.0.0.1"
    api_port: int = Field(0, ge=0, le=65535, description="0 takes a free port.")
    api_metrics_port: int | None = Field(None, description="Port of the API's /metrics.")
    api_cache_seconds: float = Field(
        30,
        ge=0,
        le=60,
        description="How long an answer may be given again to its user while no event arrives.",
    )
    api_read_ahead: int = Field(
        10_000,
        ge=0,
        le=20_000,
        description="Of so many players, the last to have come, answers are read before they ask.",
    )
    api_rate_limit: int = Field(600, ge=1, description="Requests a minute of one player.")
    api_staff_rate_limit: int = Field(
        6_000, ge=1, description="Requests a minute of one analyst, engineer, admin or service."
    )
    api_cors_origins: str = Field(
        "", description="Origins whose pages may read answers: https://a.example,https://b.example"
    )
    api_connections_per_subject: int = Field(
        10, ge=1, description="Open sockets and streams of one caller, in each process."
    )
    api_max_connections: int = Field(
        10_000, ge=1, description="Open sockets and streams of one process."
    )
    enable_legacy_games_ws: bool = Field(
        True,
        description="Whether /api/games/ws answers. Also read without the prefix, as "
        "ENABLE_LEGACY_GAMES_WS, the name it has always had.",
        validation_alias=AliasChoices("enable_legacy_games_ws", "tally_enable_legacy_games_ws"),
    )
    audit_log: Path | None = Field(
        None, description="The API's audit log. [default: <home>/audit/api.jsonl]"
    )
    jwt_issuer: str = "tally-local"
    jwt_audience: str = "tally"
    jwks: str | None = Field(None, description="JWKS file or URL with the keys that sign tokens.")

    real_data: Path = Field(
        Path("../shared/data"), description="The folder of bustabit.csv, the real rounds."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then secrets, then the stack that runs in `home`."""
        given: dict[str, Any] = {**env_settings(), **init_settings()}
        home = Path(given.get("home", ".tally"))
        stack = JsonConfigSettingsSource(settings_cls, json_file=home / STACK_SETTINGS)
        folder = Path(given.get("secrets", cls.model_fields["secrets"].default))
        if not folder.is_dir():
            return init_settings, env_settings, stack
        secrets = SecretsSettingsSource(settings_cls, secrets_dir=folder)
        return init_settings, env_settings, secrets, stack

    def endpoint(
        self, name: Literal["clickhouse_url", "kafka_bootstrap", "postgres_url", "api_url"]
    ) -> str:
        """The named endpoint.

        Raises `TallyError` where neither the environment nor the stack in `home` names it.
        """
        value: str | None = getattr(self, name)
        if value is None:
            raise TallyError(
                f"No {name} is known: TALLY_{name.upper()} is not set and no stack runs in "
                f"{self.home}.",
                hint=f"Start one with `tally up --home {self.home}`, or set TALLY_{name.upper()}.",
            )
        return value

    @property
    def audit_path(self) -> Path:
        """Where the API's audit log is."""
        return self.audit_log or self.home / "audit" / "api.jsonl"

    @property
    def backup_path(self) -> Path:
        """Where the nightly backups of raw are."""
        return self.backup_folder or self.home.absolute() / "backups"

    def warehouse_environment(self, target: Target = "clickhouse") -> dict[str, str]:
        """The variables that dbt's profile reads, for a process or a shell outside of Tally.

        Raises `TallyError` where the settings do not name what the target needs.
        """
        if target == "postgres":
            return self._postgres_environment()
        if target == "duckdb":
            if self.export_folder is None:
                raise TallyError(
                    "No export is known from which DuckDB could be built.",
                    hint="Make one with `tally export --to DIR`, then name it: `--from DIR`, or "
                    "TALLY_EXPORT_FOLDER.",
                )
            return {"TALLY_EXPORT_FOLDER": str(self.export_folder.absolute())}
        return {
            "TALLY_CLICKHOUSE_URL": self.endpoint("clickhouse_url"),
            "TALLY_CLICKHOUSE_USER": self.clickhouse_user,
            "TALLY_CLICKHOUSE_PASSWORD": self.clickhouse_password.get_secret_value(),
        }

    def _postgres_environment(self) -> dict[str, str]:
        url = urlsplit(self.endpoint("postgres_url"))
        return {
            "TALLY_POSTGRES_HOST": url.hostname or "localhost",
            "TALLY_POSTGRES_PORT": str(url.port or 5432),
            "TALLY_POSTGRES_USER": unquote(url.username or "postgres"),
            "TALLY_POSTGRES_PASSWORD": unquote(url.password or ""),
            "TALLY_POSTGRES_DATABASE": url.path.removeprefix("/") or "postgres",
        }


def load_settings(home: Path | None = None) -> Settings:
    """Read the settings once, for the stack in `home` where one is given.

    Raises `TallyError` that names each variable whose value makes no sense.
    """
    try:
        return Settings() if home is None else Settings(home=home)
    except ValidationError as error:
        wrong = (f"TALLY_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors())
        raise TallyError("; ".join(wrong)) from None


def child_environment(home: Path) -> dict[str, str]:
    """What the processes of the stack in `home` get of the caller's environment: its `TALLY_*`."""
    passed_on = {
        name: value
        for name, value in os.environ.items()
        if name in _PASSED_ON or name.startswith("TALLY_")
    }
    # Dagster looks for `dbt` on the PATH, which has it only where the caller activated the venv.
    programs = os.pathsep.join([str(Path(sys.executable).parent), passed_on.get("PATH", "")])
    return {**passed_on, "PATH": programs, "TALLY_HOME": str(home.absolute())}
