"""The server's certificate, and who is on the other side of a connection.

Promises: gRPC and HTTP ask for the same certificates and name their callers alike; files are read again
when they change, so that certificates are rotated without a restart; a new file that cannot be read leaves
the old certificate in force. Keys never get into a message or a log.
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
"""What TLS 1.2 may use over HTTP: what gRPC takes. TLS 1.3 has no others than good ones."""

CERTIFICATES_KEPT_MAX: Final = 1_024
"""Whom so many certificates name is remembered: a call need not read its caller's certificate again."""

_IS_SECURE: Final = "transport_security_type"
_COMMON_NAME: Final = "x509_common_name"
_ALTERNATIVE_NAMES: Final = "x509_subject_alternative_name"
_CERTIFICATE: Final = "x509_pem_cert"


class Certificates:
    """Reads the files again when they have changed."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._seen = self._stamps()

    def credentials(self) -> grpc.ServerCredentials:
        """Make the server's credentials. Raises Misconfigured when the files cannot be read."""
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
        """Make the same for HTTP. Raises Misconfigured when the files cannot be used."""
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
        """Give a handshake what is in the files now."""
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
        """Return what is in the files if they have changed; called for every handshake."""
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
    """Name the caller of gRPC by the certificate; "local" where none was shown.

    Raises NotAuthenticated for a certificate that names nobody, or is not one for callers.
    """
    if not auth_context.get(_IS_SECURE):
        return LOCAL_CALLER
    for pem in auth_context.get(_CERTIFICATE) or ():
        return caller_of_certificate(pem)
    if any(auth_context.get(kind) for kind in (_COMMON_NAME, _ALTERNATIVE_NAMES)):
        raise _nameless()
    return LOCAL_CALLER


def caller_of_transport(transport: asyncio.BaseTransport | None) -> str:
    """Name the caller over HTTP, exactly as ``caller_of`` does."""
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    certificate = connection.getpeercert(binary_form=True) if connection is not None else None
    return caller_of_certificate(certificate) if certificate else LOCAL_CALLER


@lru_cache(maxsize=CERTIFICATES_KEPT_MAX)
def caller_of_certificate(encoded: bytes) -> str:
    """Name the caller by a certificate, PEM or DER, of which it is proved that it is the caller's.

    It is for callers (extended key usage clientAuth) and has one URI, or else one DNS name. Raises
    NotAuthenticated.
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
        what = "the certificate is not one for callers"
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
    """Choose a certificate's one name, unless it is one of ours."""
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
    why = "it has no name, several names, or one with a wildcard, a port, a query or odd characters"
    todo = "Use a certificate with one URI, or one DNS name, as subject alternative name."
    return NotAuthenticated("the certificate names nobody", why=why, todo=todo)
