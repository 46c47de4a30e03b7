"""The certificate of the listener."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.reloading import ReloadError
from controller.tls import Certificate
from tests.support.certificates import write_certificate


def test_a_certificate_without_its_key_changes_nothing(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_certificate(tmp_path / f"{name}.crt", tmp_path / f"{name}.key", name)
    certificate = Certificate(str(tmp_path / "one.crt"), str(tmp_path / "one.key"))
    certificate.load()
    context = certificate.context
    (tmp_path / "two.key").rename(tmp_path / "one.key")
    with pytest.raises(ReloadError, match="KEY_VALUES_MISMATCH"):
        certificate.load()
    (tmp_path / "two.crt").rename(tmp_path / "one.crt")
    certificate.load()
    assert certificate.context is context


@pytest.mark.parametrize("content", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "crt").write_bytes(content)
    with pytest.raises(ReloadError, match=f"{tmp_path}/crt, {tmp_path}/key: "):
        Certificate(str(tmp_path / "crt"), str(tmp_path / "key")).load()
