"""The certificates for the connections to one bank, read again when their files change.

Promises: a bank is authenticated by its own certificate authority and its host name only; our client certificate
is presented if there is one. A changed file is used from the next connection on. While changed files cannot be
read, or do not match yet, the earlier certificates stay in use. Must never: write a key, or a file's content,
into a message or a log.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from settlement_engine.errors import Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

log: Final[structlog.typing.FilteringBoundLogger] = structlog.get_logger(__name__)

CIPHERS: Final = "ECDHE+AESGCM"
"""The ciphers for TLS 1.2; TLS 1.3 has no weak ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BankCertificateFiles:
    """The files: the bank's certificate authority, and our certificate and key for mutual TLS."""

    authority: Path
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a certificate without a key, or a key without a certificate. Raises Misconfigured."""
        if (self.certificate is None) != (self.key is None):
            what = "a client certificate for a bank needs its key, and a key its certificate"
            raise Misconfigured(what, todo="Name both files, or neither.")

    def all(self) -> tuple[Path, ...]:
        """List all files."""
        files = (self.authority, self.certificate, self.key)
        return tuple(file for file in files if file is not None)


class BankCertificates:
    """Gives the TLS context for new connections to a bank."""

    def __init__(self, files: BankCertificateFiles) -> None:
        """Read the files. Raises Misconfigured when they cannot be used."""
        self._files = files
        self._stamps = self._stamps_now()
        try:
            self._context = self._read()
        except OSError as error:
            raise Misconfigured(
                f"the certificates for a bank cannot be used: {files.authority}",
                why=str(error),
                todo="Correct the bank's ca_file, cert_file and key_file.",
            ) from error

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection: another object when the files have changed."""
        stamps = self._stamps_now()
        if stamps != self._stamps:
            self._stamps = stamps  # an unreadable file is logged once, until it changes again
            try:
                self._context = self._read()
                log.info("bank_certificates.renewed", authority=str(self._files.authority))
            except OSError as error:
                log.warning("bank_certificates.not_renewed", why=str(error))
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the certificate and the name
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(CIPHERS)
        context.load_verify_locations(self._files.authority)
        if self._files.certificate is not None:
            context.load_cert_chain(self._files.certificate, self._files.key)
        return context

    def _stamps_now(self) -> tuple[tuple[int, int], ...]:
        return tuple(_stamp(file) for file in self._files.all())


def _stamp(file: Path) -> tuple[int, int]:
    try:
        found = file.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)
