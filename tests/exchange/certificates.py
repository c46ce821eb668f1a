"""Certificates for the tests: an authority of their own and a server that it vouches for."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fundarb.clock import SystemClock

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Certified:
    """The authority's certificate, as a file, and a server's side that shows one of its own."""

    authority: Path
    server: ssl.SSLContext


def certified(folder: Path, *, host: str = "127.0.0.1") -> Certified:
    """A new authority and a server for the address ``host``."""
    ours, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of the tests")])
    authority = _certificate(name, name, ours.public_key(), signer=ours, ca=True)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    shown = _certificate(subject, name, theirs.public_key(), signer=ours, host=host)
    pem = serialization.Encoding.PEM
    key = theirs.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.pem").write_bytes(key + shown.public_bytes(pem))
    (folder / "authority.pem").write_bytes(authority.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return Certified(folder / "authority.pem", context)


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    signer: ec.EllipticCurvePrivateKey,
    host: str = "",
    ca: bool = False,
) -> x509.Certificate:
    now = SystemClock().now()
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host:
        names = [x509.IPAddress(ipaddress.ip_address(host))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())
