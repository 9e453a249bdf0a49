"""TLS to an app: what is asked of its certificate, and how a refusal is told.

Without a certificate authority the connection is encrypted and nobody looks at the certificate, since a test shows how the app behaves
and not who it is. With one the certificate must be signed by it and made out to the server's name, or to the replica's address where no
name is given. HTTP/1.1 is the only protocol that is offered.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from functools import cache

from harness.errors import TargetError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS to a replica.

    Attributes:
        context: What OpenSSL is told, with the authority in it.
        server_name: The name that is asked for and that the certificate must be made out to; empty for the replica's address.
        verified: The certificate must be good.
    """

    context: ssl.SSLContext
    server_name: str
    verified: bool

    def name_at(self, host: str) -> str | None:
        """The name to hand to OpenSSL for a replica at ``host``."""
        return self.server_name or (host if self.verified else None)


@cache
def tls_with(ca: str, server_name: str) -> Tls:
    """How to speak TLS with the authority's certificates in the file ``ca``, empty for none; raises `TargetError` when it can't be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    if ca:
        problem = ca_problem(ca, context)
        if problem:
            raise TargetError(f"tls: ca: {problem}")
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return Tls(context=context, server_name=server_name, verified=bool(ca))


def ca_problem(ca: str, context: ssl.SSLContext | None = None) -> str:
    """Why the file ``ca`` is no certificate of an authority; empty when it is one, which ``context`` then trusts."""
    if not os.path.isfile(ca):  # noqa: PTH113  Path.is_file raises where a name is too long
        return f"there is no file {ca}; a relative path begins at the scenario file's folder"
    try:
        (context or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)).load_verify_locations(cafile=ca)
    except ssl.SSLError:
        return f"{ca} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"
    except OSError as error:
        return f"{ca} can't be read: {error.strerror}"
    return ""


def in_words(error: ssl.SSLError) -> str:
    """What went wrong in a handshake, and which key mends it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return f"its certificate was refused: {why}; mend ca or server_name in tls:, or write tls: true to look at no certificate"
    why = (error.reason or type(error).__name__).replace("_", " ").lower()
    return f"it does not speak TLS as it should ({why}); remove tls: where it speaks plain HTTP"
