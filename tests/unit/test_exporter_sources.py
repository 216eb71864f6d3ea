"""The exporter answers in time and says who did not, whatever its sources do."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.x509.oid import NameOID
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from tally.exporter import certificates, collector
from tally.exporter.collector import Sources
from tally.exporter.families import gauge


def works() -> Iterator[Metric]:
    yield gauge("tally_works", "It works.", 1)


def fails() -> Iterator[Metric]:
    yield gauge("tally_half", "Half an answer.", 1)
    raise OSError("away")


def scrape(sources: Sources) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("source", "")): sample.value
        for family in sources.collect()
        for sample in family.samples
    }


def test_a_source_that_fails_is_told_and_hides_nobody() -> None:
    found = scrape(Sources({"good": works, "bad": fails}))
    assert found["tally_works", ""] == 1
    assert found["tally_exporter_source_up", "good"] == 1
    assert found["tally_exporter_source_up", "bad"] == 0
    assert ("tally_half", "") not in found


def test_a_source_that_hangs_is_told_in_time_and_asked_again_only_after_it_has_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(collector, "DEADLINE_SECONDS", 0.05)
    release, asked = threading.Event(), []

    def hangs() -> Iterator[Metric]:
        asked.append(1)
        release.wait(30)
        yield gauge("tally_late", "It comes late.", 1)

    sources = Sources({"good": works, "slow": hangs})
    for _ in range(2):
        found = scrape(sources)
        assert found["tally_exporter_source_up", "slow"] == 0
        assert found["tally_exporter_source_up", "good"] == 1
    assert len(asked) == 1
    release.set()
    monkeypatch.setattr(collector, "DEADLINE_SECONDS", 30)
    assert scrape(sources)["tally_exporter_source_up", "slow"] == 1


def test_scrapes_at_once_share_an_answer() -> None:
    """Of one of two, a source that the other had just answered was gone: HTTP 500."""
    release, asked, waiting = threading.Event(), [], 5

    def slow() -> Iterator[Metric]:
        asked.append(1)
        release.wait(30)
        yield gauge("tally_slow", "It takes its time.", 1)

    sources = Sources({"good": works, "slow": slow})
    with ThreadPoolExecutor(waiting) as pool:
        scrapes = [pool.submit(scrape, sources) for _ in range(waiting)]
        assert not wait(scrapes, timeout=0.2).done
        release.set()
        found = [each.result(timeout=30) for each in scrapes]
    for each in found:
        assert each["tally_slow", ""] == each["tally_works", ""] == 1
        assert each["tally_exporter_source_up", "slow"] == 1
    assert len(asked) < waiting


def test_to_register_it_asks_nobody() -> None:
    def never() -> Iterator[Metric]:
        raise AssertionError("asked")

    CollectorRegistry().register(Sources({"any": never}))


def test_a_certificate_is_told_by_its_end_also_where_nobody_may_trust_it(tmp_path: Path) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    with _https_server(tmp_path, ends) as port:
        endpoints = {
            "api": f"https://127.0.0.1:{port}",
            "dagster": "http://127.0.0.1:1",
            "jwks": None,
        }
        (family,) = certificates.read(endpoints, timeout_seconds=5)
    assert [(s.labels["endpoint"], s.value) for s in family.samples] == [("api", ends.timestamp())]


@contextmanager
def _https_server(folder: Path, ends: datetime) -> Iterator[int]:
    key = generate_private_key(SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=9))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
