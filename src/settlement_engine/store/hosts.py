"""Several servers in one address: ``postgresql://user@first:5432,second:5432/settlement``.

Each host is an address of its own here, because a driver that is given all of them stops at the first
that answers: an old primary that has come back would be preferred to its successor.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

HOSTS_MAX: Final = 16
"""No more hosts of an address are tried."""


def addresses(url: str) -> list[str]:
    """Return one address for each host of an address, in its order."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    names = [name for name in hosts.split(",") if name] or [hosts]
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{name}")) for name in names[:HOSTS_MAX]]
