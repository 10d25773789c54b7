"""Several servers in one URL: ``postgresql://user@first:5432,second:5432/settlement``.

Each host is tried separately, because a driver that receives all of them stops at the first that answers: an old
primary that has come back would be preferred to its successor.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

HOSTS_MAX: Final = 16
"""At most so many hosts of a URL are tried."""


def addresses(url: str) -> list[str]:
    """Return one URL for each host of a URL, in the same order."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    names = [name for name in hosts.split(",") if name] or [hosts]
    return [urlunsplit(parts._replace(netloc=f"{login}{at}{name}")) for name in names[:HOSTS_MAX]]
