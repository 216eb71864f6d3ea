"""When the certificates of the endpoints end that Tally reaches over TLS."""

import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from cryptography import x509
from prometheus_client.core import Metric

from tally.exporter.families import gauges


def read(endpoints: dict[str, str | None], timeout_seconds: float) -> Iterator[Metric]:
    """A sample for each https endpoint. Raises `OSError` where one does not answer."""
    yield gauges(
        "tally_tls_certificate_expiry_timestamp_seconds",
        "When the certificate of the endpoint ends.",
        ["endpoint"],
        [
            ((name,), _not_after(url, timeout_seconds))
            for name, url in endpoints.items()
            if url is not None and url.startswith("https://")
        ],
    )


def _not_after(url: str, timeout_seconds: float) -> float:
    parts = urlsplit(url)
    assert parts.hostname is not None
    # One that nobody may trust any more has an end, too: that is what is asked for.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = (parts.hostname, parts.port or 443)
    with (
        socket.create_connection(address, timeout=timeout_seconds) as connection,
        context.wrap_socket(connection, server_hostname=parts.hostname) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc.timestamp()
