"""docker-compose.yml held against the code: no engine runs containers here, so its parts are.

What names something of ours (a setting, a command, a path, a port, an account) is resolved or run.
docs/deploy.md says what that leaves open.
"""

import hashlib
import http.server
import os
import re
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from tally.local.stack import dagster_configuration
from tally.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
FILES = [ROOT / "docker-compose.yml", ROOT / "docker-compose.prod.yml"]
BIN = Path(sys.executable).parent

COMPOSE: dict[str, Any] = yaml.safe_load(FILES[0].read_text())
PRODUCTION: dict[str, Any] = yaml.safe_load(FILES[1].read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"].startswith("tally:")}
# They end when they have done their work.
COMMANDS = {"migrate", "prepare"}
PUBLISHED = {
    *("api", "dagster-webserver", "kafka-ui", "dbt-docs"),
    *("prometheus", "alertmanager", "grafana"),
}
# A reason for each is where it says so.
WRITES_ITS_ROOT = {"kafka", "prepare", "dagster-code", "dbt-docs"}


def expanded(text: str) -> str:
    """The text with the defaults of its variables, as compose reads it without an environment."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/make_secrets.py makes."""
    folder = tmp_path_factory.mktemp("deploy") / "secrets"
    make_secrets(folder)
    return folder


def make_secrets(folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-I", DOCKER / "make_secrets.py", "--folder", folder], check=True
    )


def test_the_files_are_valid_by_the_compose_specification() -> None:
    subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *FILES], check=True
    )


def test_the_schema_refuses_what_compose_does_not_know(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text("services: {api: {image: tally, read_onyl: true}}")
    done = subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", wrong],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "read_onyl" in done.stdout


def test_every_image_has_a_version() -> None:
    bases = re.findall(r"^FROM (\S+)", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    images = {expanded(service["image"]) for service in SERVICES.values()} | set(bases)
    assert len(images) > 8
    for image in images:
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)*$", image), f"{image} is not pinned"


def test_an_image_has_what_is_locked_and_no_development_tools() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^([\w.-]+==\S+)", path.read_text(), re.MULTILINE))

    image, everything = pins(DOCKER / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert image < everything
    assert not any(pin.startswith(("pytest", "mypy", "ruff")) for pin in image)


def test_an_image_is_made_of_every_package_and_of_nothing_that_is_not_there() -> None:
    taken = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert all((ROOT / path).exists() for path in taken)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(taken)
    copied = re.findall(r"^COPY (?!--)(\S+) ", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name not in WRITES_ITS_ROOT)
    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_waits_for_the_health_of_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) == (name not in COMMANDS | {"simulator"})
    for needed, how in service.get("depends_on", {}).items():
        ends = needed in COMMANDS
        assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
        # A profile other than core is started beside core.
        assert {*SERVICES[needed]["profiles"]} <= {*service["profiles"], "core"}


def test_only_the_api_and_the_uis_are_published_and_on_loopback() -> None:
    assert {name for name, each in SERVICES.items() if "ports" in each} == PUBLISHED
    reachable = {name for name, each in SERVICES.items() if "edge" in each["networks"]}
    assert reachable == PUBLISHED
    inside = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert inside == {"data", "control", "monitoring"}
    ports = [expanded(port) for name in PUBLISHED for port in SERVICES[name]["ports"]]
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert len({port.split(":")[1] for port in ports}) == len(ports), "two publish one port"


@pytest.mark.parametrize("name", OURS)
def test_what_is_set_is_a_setting_with_a_value_that_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = OURS[name]
    production = PRODUCTION["services"].get(name, {}).get("environment", {})
    given = {
        variable: expanded(value)
        for variable, value in service["environment"].items()
        if variable.startswith("TALLY_")
    }
    for variable in given.keys() | {v for v in production if v.startswith("TALLY_")}:
        assert variable.removeprefix("TALLY_").lower() in Settings.model_fields, variable
    for secret in service.get("secrets", []):
        target = secret["target"] if isinstance(secret, dict) else secret
        if target.startswith("tally_"):
            assert target.removeprefix("tally_") in Settings.model_fields
            (tmp_path / target).write_text(f"of {target}\n")
    for variable, value in {**given, "TALLY_SECRETS": str(tmp_path)}.items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    assert settings.clickhouse_user == given.get("TALLY_CLICKHOUSE_USER", "default")
    has_password = (tmp_path / "tally_clickhouse_password").exists()
    expected = "of tally_clickhouse_password" if has_password else ""
    assert settings.clickhouse_password.get_secret_value() == expected


@pytest.mark.parametrize(
    "command",
    # In an order: every process of the tests has to find the same.
    sorted(
        tuple(command)
        for service in OURS.values()
        for command in (service["command"], service.get("healthcheck", {}).get("test", [])[1:])
        if command and command[0] != "python"
    ),
    ids=" ".join,
)
def test_a_command_is_known_with_every_option_it_is_given(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    # click refuses an option that it does not know before it prints its help.
    done = subprocess.run(
        [BIN / command[0], *command[1:], "--help"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_a_probe_asks_for_the_port_that_its_service_listens_on() -> None:
    for name, service in OURS.items():
        test = service.get("healthcheck", {}).get("test", [])
        if test[1:2] != ["python"]:
            continue
        assert (ROOT / Path(test[2]).relative_to("/app")).is_file()
        port = re.search(r":(\d+)(/|$)", test[3])
        assert port is not None
        said = [*service["command"], *service["environment"].values()]
        assert port[1] in said, f"{name} is asked on {port[1]}"


class _Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - overridden
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a server that answers `/<status>` with it."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("address", "healthy"),
    [
        ("http://127.0.0.1:{port}/200", True),
        ("http://127.0.0.1:{port}/503", False),
        ("tcp://127.0.0.1:{port}", True),
        ("tcp://127.0.0.1:1", False),
    ],
)
def test_the_probe_tells_what_answers(port: int, address: str, healthy: bool) -> None:
    command = [sys.executable, DOCKER / "probe.py", address.format(port=port)]
    done = subprocess.run(command, stderr=subprocess.DEVNULL, check=False)
    assert (done.returncode == 0) is healthy


def test_every_path_of_this_machine_is_in_the_repository(secrets: Path) -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"]
        for secret in service.get("secrets", []):
            known = secret["source"] if isinstance(secret, dict) else secret
            assert known in COMPOSE["secrets"]
    made = {f"./docker/secrets/{path.name}" for path in secrets.iterdir()}
    declared = {expanded(secret["file"]) for secret in COMPOSE["secrets"].values()}
    # The key set is that of `tally keys`, or of an identity provider; people have the rest.
    assert declared - made == {"./docker/secrets/keys/jwks.json"}
    of_people = {f"./docker/secrets/clickhouse_{name}" for name in ("analysts", "erase")}
    assert made - declared == of_people


def test_secrets_are_made_once_and_kept_from_others(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    make_secrets(secrets)
    assert {path.name: path.read_text() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert len({before[name] for name in before if name.startswith("clickhouse_")}) == 8


def test_the_environment_overrules_a_secret_and_a_secret_the_stack(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "settings.json").write_text('{"postgres_url": "of the stack", "api_port": 1}')
    (tmp_path / "tally_postgres_url").write_text("of the secret")
    monkeypatch.setenv("TALLY_SECRETS", str(tmp_path))
    assert load_settings(tmp_path).postgres_url == "of the secret"
    assert load_settings(tmp_path).api_port == 1
    monkeypatch.setenv("TALLY_POSTGRES_URL", "of the environment")
    assert load_settings(tmp_path).postgres_url == "of the environment"


def test_each_account_of_the_warehouse_has_the_password_that_its_service_gets(
    secrets: Path,
) -> None:
    users = ElementTree.parse(DOCKER / "clickhouse" / "users.xml").getroot()
    accounts = {user.tag for user in users.iterfind("users/*")} - {"default"}
    passwords = ElementTree.parse(secrets / "passwords.xml").getroot()
    hashes = {user.tag: user.findtext("password_sha256_hex") for user in passwords.iter()}
    for account in accounts:
        password = (secrets / f"clickhouse_{account}").read_text()
        assert hashes[account] == hashlib.sha256(password.encode()).hexdigest()
    for name, service in OURS.items():
        if (user := service["environment"].get("TALLY_CLICKHOUSE_USER")) is None:
            continue
        assert {"source": f"clickhouse_{user}", "target": "tally_clickhouse_password"} in service[
            "secrets"
        ], name


def test_libpq_takes_the_password_of_dagsters_postgres_from_the_secret(secrets: Path) -> None:
    environment = SERVICES["dagster-code"]["environment"]
    read = (
        "from psycopg import pq; defaults = {o.keyword: o.val for o in pq.Conninfo.get_defaults()};"
        "print(defaults[b'password'].decode())"
    )
    done = subprocess.run(
        [sys.executable, "-c", read],
        env={
            "PGSERVICE": environment["PGSERVICE"],
            "PGSERVICEFILE": str(secrets / Path(environment["PGSERVICEFILE"]).name),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == (secrets / "postgres_dagster").read_text()


def test_dagster_is_configured_as_in_the_local_stack() -> None:
    settings = Settings(
        dagster_postgres_url=SERVICES["dagster-daemon"]["environment"]["TALLY_DAGSTER_POSTGRES_URL"]
    )
    deployed = yaml.safe_load((DOCKER / "dagster" / "dagster.yaml").read_text())
    assert deployed == yaml.safe_load(dagster_configuration(settings))
    workspace = yaml.safe_load((DOCKER / "dagster" / "workspace.yaml").read_text())
    (location,) = workspace["load_from"]
    command = SERVICES["dagster-code"]["command"]
    assert location["grpc_server"]["host"] == "dagster-code"
    assert str(location["grpc_server"]["port"]) == command[command.index("--port") + 1]


def test_an_address_in_a_setting_is_a_service_that_shares_a_network() -> None:
    for name, service in OURS.items():
        for variable, value in service["environment"].items():
            host = re.match(r"(?:\w[\w+]*://)?(?:\w+@)?([a-z][a-z-]*):\d+", value)
            if host is None:
                continue
            assert host[1] in SERVICES, f"{name}: {variable}"
            assert {*service["networks"]} & {*SERVICES[host[1]]["networks"]}, f"{name}: {variable}"


def test_alertmanager_has_the_secrets_that_its_routes_name() -> None:
    routes = (ROOT / "grafana" / "alertmanager" / "alertmanager.yml").read_text()
    named = set(re.findall(r"/run/secrets/(\w+)", routes))
    assert named == set(SERVICES["alertmanager"]["secrets"])


def test_prometheus_scrapes_services_on_the_ports_that_they_listen_on() -> None:
    file = ROOT / "grafana" / "prometheus" / "prometheus.yml"
    for job in yaml.safe_load(file.read_text())["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        name, _, port = target.partition(":")
        if name == "localhost":
            continue
        assert port in SERVICES[name]["environment"].values()
        assert SERVICES[name]["environment"]["TALLY_METRICS_HOST"] == "0.0.0.0"
        assert "monitoring" in SERVICES[name]["networks"]


def test_production_changes_only_services_that_there_are() -> None:
    assert set(PRODUCTION["services"]) <= set(SERVICES)
    for name in OURS.keys() - {"simulator"}:
        assert PRODUCTION["services"][name]["image"].startswith("${TALLY_IMAGE:?"), name


def test_the_page_tells_of_every_variable_and_service() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    for file in FILES:
        for variable in re.findall(r"\$\{(\w+)", file.read_text()):
            assert f"`{variable}`" in page, variable
    for service in SERVICES:
        assert f"`{service}`" in page, service
