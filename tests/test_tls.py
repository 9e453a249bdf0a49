"""How to speak TLS to an app, and how a refusal is told."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from harness.errors import TargetError
from harness.tls import ca_problem, in_words, tls_with
from tests.load.servers import CERTIFICATE


def test_without_an_authority_no_certificate_is_looked_at() -> None:
    tls = tls_with("", "")
    assert not tls.verified
    assert (tls.context.verify_mode, tls.context.check_hostname) == (ssl.CERT_NONE, False)
    assert tls.name_at("10.0.0.1") is None
    assert tls_with("", "shop.example").name_at("10.0.0.1") == "shop.example"


def test_with_an_authority_the_certificate_is_made_out_to_the_name_or_else_to_the_address() -> None:
    tls = tls_with(str(CERTIFICATE), "")
    assert tls.verified
    assert (tls.context.verify_mode, tls.context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert tls.name_at("10.0.0.1") == "10.0.0.1"
    assert tls_with(str(CERTIFICATE), "localhost").name_at("10.0.0.1") == "localhost"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, r"there is no file .*ca\.pem; a relative path begins at the scenario file's folder"),
        ("", "holds no certificate in PEM form"),
        ("hello", "holds no certificate in PEM form"),
        (CERTIFICATE.with_name("key.pem").read_text(), "holds no certificate in PEM form"),
    ],
)
def test_a_file_that_is_no_authority_is_told_in_a_sentence(tmp_path: Path, content: str | None, told: str) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(TargetError, match=told):
        tls_with(str(path), "")


def test_a_folder_a_pipe_and_an_impossible_name_are_no_authority(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (str(tmp_path), str(tmp_path / "pipe"), "a\0b", "x" * 5000):
        assert ca_problem(name).startswith("there is no file ")


def test_a_file_that_may_not_be_read_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(CERTIFICATE.read_text())

    class Forbidden(ssl.SSLContext):
        """Root may read whatever it likes, so the answer of the system is played."""

        def load_verify_locations(self, *_places: object, **_named: object) -> None:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(ssl, "SSLContext", Forbidden)
    assert ca_problem(str(path)) == f"{path} can't be read: Permission denied"


def test_the_committed_certificate_is_an_authority() -> None:
    assert ca_problem(str(CERTIFICATE)) == ""


def test_a_handshake_that_failed_is_told_in_words_with_the_key_that_mends_it() -> None:
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    plain.reason = "WRONG_VERSION_NUMBER"
    assert in_words(plain) == "it does not speak TLS as it should (wrong version number); remove tls: where it speaks plain HTTP"
    refused = ssl.SSLCertVerificationError(1, "certificate verify failed")
    refused.verify_message = "self-signed certificate"
    assert in_words(refused).startswith("its certificate was refused: self-signed certificate; mend ca or server_name")
