"""Every page of a list is read, in order, with the token of the page before; a list without an end is a fault."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from settlement_engine.proto import settlement_pb2 as wire
from settlement_lab.bench import listing


def listed(pages):
    """A list call of so many pages; it notes the tokens that it was asked with."""
    asked: list[str] = []

    async def call(wanted, **options):
        assert options == {"timeout": 3.0}
        asked.append(wanted.page_token)
        number = len(asked)
        token = str(number) if number < pages else ""
        return SimpleNamespace(accounts=[number], next_page_token=token)

    return call, asked


async def test_every_page_is_read():
    call, asked = listed(3)
    wanted = wire.ListAccountsRequest()
    assert await listing.all_items(call, wanted, "accounts", 3.0) == [1, 2, 3]
    assert asked == ["", "1", "2"]
    assert wanted.page_size == listing.PAGE_ITEMS


async def test_a_list_without_an_end_is_a_fault(monkeypatch):
    monkeypatch.setattr(listing, "PAGES_MAX", 2)
    call, _ = listed(3)
    with pytest.raises(AssertionError, match="more than 2 pages"):
        await listing.all_items(call, wire.ListAccountsRequest(), "accounts", 3.0)
