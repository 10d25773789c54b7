"""The server's certificate, and the caller's identity on a connection.

Promises: gRPC and HTTP require the same client certificates and derive the same caller names; files are read
again when they change, so that certificates are rotated without a restart; if a new file cannot be read, the
old certificate stays in use. Keys must never appear in a message or a log.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeVar, cast

import grpc
import structlog
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from settlement_engine.api.call import LOCAL_CALLER, NOBODYS_NAMES
from settlement_engine.domain.identity import name_of_dns, name_of_uri
from settlement_engine.errors import Misconfigured, NotAuthenticated

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from settlement_engine.api.settings import TlsFiles

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

CIPHERS: Final = "ECDHE+AESGCM"
"""Ciphers for TLS 1.2 over HTTP, the same as gRPC's. TLS 1.3 has only strong ones."""

CERTIFICATES_KEPT_MAX: Final = 1_024
"""How many certificates' caller names are cached, so that each call need not parse its certificate."""

_IS_SECURE: Final = "transport_security_type"
_COMMON_NAME: Final = "x509_common_name"
_ALTERNATIVE_NAMES: Final = "x509_subject_alternative_name"
_CERTIFICATE: Final = "x509_pem_cert"


class Certificates:
    """Loads the certificate files, and loads them again when they have changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._stamps()

    def credentials(self) -> grpc.ServerCredentials:
        """Return gRPC's server credentials. Raises Misconfigured when the files cannot be read."""
        try:
            first = self._read()
        except OSError as error:
            raise _unreadable(error) from error
        return grpc.dynamic_ssl_server_credentials(
            first,
            cast("Callable[[], grpc.ServerCertificateConfiguration]", self._renewed),
            require_client_authentication=self._files.client_ca is not None,
        )

    def context(self) -> ssl.SSLContext:
        """Return the TLS context for HTTP. Raises Misconfigured when the files cannot be used."""
        try:
            self._context = self._read_context()
        except OSError as error:
            raise _unreadable(error) from error
        self._context_seen = self._stamps()
        self._context.sni_callback = self._choose_context
        return self._context

    def _choose_context(
        self, connection: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext
    ) -> None:
        """Use the files' current content for a handshake."""
        stamps = self._stamps()
        if stamps != self._context_seen:
            try:
                self._context = self._read_context()
                self._context_seen = stamps
                log.info("tls.renewed", port="http")
            except OSError as error:
                log.warning("tls.not_renewed", why=str(error), port="http")
        connection.context = self._context

    def _read_context(self) -> ssl.SSLContext:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(files.certificate, files.key)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files' content if it has changed; gRPC calls this for every handshake."""
        stamps = self._stamps()
        if stamps == self._seen:
            return None
        try:
            fresh = self._read()
        except OSError as error:
            log.warning("tls.not_renewed", why=str(error))
            return None
        self._seen = stamps
        log.info("tls.renewed")
        return fresh

    def _read(self) -> grpc.ServerCertificateConfiguration:
        ca = self._files.client_ca
        pair = (self._files.key.read_bytes(), self._files.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration(
            [pair], root_certificates=ca.read_bytes() if ca else None
        )

    def _stamps(self) -> tuple[int, ...]:
        files = (self._files.certificate, self._files.key, self._files.client_ca)
        return tuple(_stamp(file) for file in files if file is not None)


def _unreadable(error: OSError) -> Misconfigured:
    what = "the TLS files cannot be read"
    todo = "Correct [server] tls_cert_file, tls_key_file and tls_client_ca_file."
    return Misconfigured(what, why=str(error), todo=todo)


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def caller_of(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """Return gRPC's caller name from its certificate; "local" where none was shown.

    Raises NotAuthenticated for a certificate without a usable name, or not meant for clients.
    """
    if not auth_context.get(_IS_SECURE):
        return LOCAL_CALLER
    for pem in auth_context.get(_CERTIFICATE) or ():
        return caller_of_certificate(pem)
    if any(auth_context.get(kind) for kind in (_COMMON_NAME, _ALTERNATIVE_NAMES)):
        raise _nameless()
    return LOCAL_CALLER


def caller_of_transport(transport: asyncio.BaseTransport | None) -> str:
    """Return the caller's name over HTTP, derived exactly as ``caller_of`` does."""
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    return caller_of_certificate(certificate) if certificate else LOCAL_CALLER


@lru_cache(maxsize=CERTIFICATES_KEPT_MAX)
def caller_of_certificate(encoded: bytes) -> str:
    """Return the caller's name from a certificate (PEM or DER) that the TLS handshake has verified.

    The certificate must have the extended key usage clientAuth (RFC 5280) and one URI, or else one DNS
    name, as subject alternative name. Raises NotAuthenticated.
    """
    is_pem = encoded.lstrip().startswith(b"-----")
    try:
        found = (
            x509.load_pem_x509_certificate(encoded)
            if is_pem
            else x509.load_der_x509_certificate(encoded)
        )
        usages = _extension(found, x509.ExtendedKeyUsage)
        names = _extension(found, x509.SubjectAlternativeName)
    except ValueError as error:
        raise _nameless() from error
    if usages is None or ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        what = "the certificate is not a client certificate"
        todo = "Use a certificate with the extended key usage clientAuth."
        raise NotAuthenticated(what, todo=todo)
    return _named(names)


Extension = TypeVar("Extension", bound=x509.ExtensionType)


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _named(names: x509.SubjectAlternativeName | None) -> str:
    """Return a certificate's only name, unless the engine uses that name itself."""
    if names is None:
        raise _nameless()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    found = {name_of_uri(uri) for uri in uris} or {
        name_of_dns(dns) for dns in names.get_values_for_type(x509.DNSName)
    }
    name = found.pop() if len(found) == 1 else None
    if name is None or name in NOBODYS_NAMES:
        raise _nameless()
    return name


def _nameless() -> NotAuthenticated:
    why = "it has no name, several names, or a name with a wildcard, a port, a query or invalid characters"
    todo = "Use a certificate with one URI, or one DNS name, as subject alternative name."
    return NotAuthenticated("the certificate contains no identity", why=why, todo=todo)
