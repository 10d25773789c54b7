"""Where the message corpora of others are: beside the checkout, and never in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "SETTLEMENT_SHARED"


def shared_folder(name: str) -> Path:
    """Return a folder of the shared ones, or skip with the reason.

    A git work tree may be elsewhere; its file `.git` says where the checkout itself is.
    """
    beside = [ROOT]
    link = ROOT / ".git"
    if link.is_file():
        beside.append(Path(link.read_text().removeprefix("gitdir:").strip()).parents[2])
    said = os.environ.get(VARIABLE)
    places = [Path(said)] if said else [checkout.parent / "shared" for checkout in beside]
    for place in places:
        if (place / name).is_dir():
            return place / name
    pytest.skip(f"there is no {name} in ../shared (another place: {VARIABLE})")
