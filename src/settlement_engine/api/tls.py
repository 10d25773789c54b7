"""The server's certificate, and who is on the other side of a connection.

Promises: files are read again when they change, so that certificates are rotated without a restart; a new
file that cannot be read leaves the old certificate in force. Keys never get into a message or a log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import grpc
import structlog

from settlement_engine.api.call import LOCAL_CALLER, NOBODYS_NAMES
from settlement_engine.errors import Misconfigured, NotAuthenticated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from settlement_engine.api.settings import TlsFiles

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

_URI_NAMES: Final = "peer_uri"
_DNS_NAMES: Final = "peer_dns"
_IS_SECURE: Final = "transport_security_type"
_COMMON_NAME: Final = "x509_common_name"
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
            what = "the TLS files cannot be read"
            todo = "Correct [server] tls_cert_file, tls_key_file and tls_client_ca_file."
            raise Misconfigured(what, why=str(error), todo=todo) from error
        return grpc.dynamic_ssl_server_credentials(
            first,
            cast("Callable[[], grpc.ServerCertificateConfiguration]", self._renewed),
            require_client_authentication=self._files.client_ca is not None,
        )

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


def _stamp(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


def caller_of(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """Name the caller: the certificate's URI, else its DNS name; "local" where none was shown.

    Raises NotAuthenticated for a certificate that names nobody, or bears a name of ours.
    """
    if not auth_context.get(_IS_SECURE):
        return LOCAL_CALLER
    for kind in (_URI_NAMES, _DNS_NAMES):
        for name in auth_context.get(kind) or ():
            return _named(name.decode("utf-8", "replace"))
    if auth_context.get(_CERTIFICATE) or auth_context.get(_COMMON_NAME):
        raise _nameless()
    return LOCAL_CALLER


def caller_of_certificate(certificate: Mapping[str, Any] | None) -> str:
    """Name the caller by a certificate as Python's own TLS shows it."""
    if not certificate:
        return LOCAL_CALLER
    names = certificate.get("subjectAltName", ())
    for wanted in ("URI", "DNS"):
        for kind, name in names:
            if kind == wanted:
                return _named(str(name))
    raise _nameless()


def _named(name: str) -> str:
    """Return a certificate's name, unless it is one of ours."""
    if not name.strip() or name.casefold() in NOBODYS_NAMES:
        raise _nameless()
    return name


def _nameless() -> NotAuthenticated:
    todo = "Use a certificate with a URI or a DNS name as subject alternative name."
    return NotAuthenticated("the certificate names nobody", todo=todo)
