"""The certificate of the listener."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest

from controller.tls import Certificate
from proxy.reloading import ReloadError
from tests.support.certificates import write_certificate


def der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def shown_by(context: ssl.SSLContext) -> bytes | None:
    """The certificate that somebody who connects now is shown."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client, server = asking.wrap_bio(down, up), context.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return client.getpeercert(binary_form=True)


def test_a_certificate_without_its_key_changes_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_certificate(tmp_path / f"{name}.crt", tmp_path / f"{name}.key", name)
    certificate = Certificate(str(tmp_path / "one.crt"), str(tmp_path / "one.key"))
    certificate.load()
    context = certificate.context
    first = der(tmp_path / "one.crt")
    assert shown_by(context) == first
    second = der(tmp_path / "two.crt")
    (tmp_path / "two.crt").rename(tmp_path / "one.crt")
    with pytest.raises(ReloadError, match="KEY_VALUES_MISMATCH"):
        certificate.load()
    assert shown_by(context) == first  # neither half of the new one
    (tmp_path / "two.key").rename(tmp_path / "one.key")
    certificate.load()
    assert certificate.context is context
    assert shown_by(context) == second


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crt").write_bytes(content)
    with pytest.raises(ReloadError, match=f"{tmp_path}/crt, {tmp_path}/key: "):
        Certificate(str(tmp_path / "crt"), str(tmp_path / "key")).load()
