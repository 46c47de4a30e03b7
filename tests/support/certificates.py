"""Certificates for 127.0.0.1, made by the openssl command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def write_certificate(certificate: Path, key: Path, name: str) -> None:
    """A self-signed one, which is its own authority; skips the test where there is no openssl."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    fresh_certificate, fresh_key = (path.with_name(f".fresh-{path.name}") for path in (certificate, key))
    subprocess.run(
        [
            *(
                openssl,
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(fresh_key), "-out", str(fresh_certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    fresh_key.replace(key)
    fresh_certificate.replace(certificate)
