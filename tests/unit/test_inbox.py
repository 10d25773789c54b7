from __future__ import annotations

import pytest

from settlement_client import MemoryInbox, PostgresInbox


class Table:
    """As much of a database as the inbox's statements need."""

    def __init__(self):
        self.rows = set()
        self.statements = []

    async def execute(self, query, *args):
        self.statements.append(query)
        if not query.startswith("INSERT"):
            return "CREATE TABLE"
        count = int(args not in self.rows)
        self.rows.add(args)
        return f"INSERT 0 {count}"


async def test_an_id_is_new_once():
    inbox = MemoryInbox()
    assert [await inbox.take(one) for one in ("a.1", "b.1", "a.1", "a.2")] == [
        True,
        True,
        False,
        True,
    ]


async def test_a_full_memory_forgets_the_oldest():
    inbox = MemoryInbox(ids_max=2)
    for one in ("a", "b", "c"):
        assert await inbox.take(one)
    assert not await inbox.take("c")
    assert await inbox.take("a")


async def test_the_database_remembers_per_consumer():
    table = Table()
    one = PostgresInbox(table, consumer="one", table="app.event_inbox")
    two = PostgresInbox(table, consumer="two", table="app.event_inbox")
    await one.create()
    assert await one.take("a.1")
    assert not await one.take("a.1")
    assert await two.take("a.1")
    assert "CREATE TABLE IF NOT EXISTS app.event_inbox" in table.statements[0]


@pytest.mark.parametrize("table", ["", "x; DROP TABLE y", "X", 'a"b', "a.b.c", "1a", "a-b", "a\n"])
def test_a_table_name_that_could_inject_is_refused(table):
    with pytest.raises(ValueError, match="table's name"):
        PostgresInbox(Table(), consumer="one", table=table)


@pytest.mark.parametrize("event_id", ["", "x" * 201])
async def test_an_id_out_of_bounds_is_refused(event_id):
    with pytest.raises(ValueError, match="1 to 200"):
        await PostgresInbox(Table(), consumer="one").take(event_id)
