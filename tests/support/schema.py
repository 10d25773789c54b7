"""The structure of a database, read from its catalogue: as rows to compare, and as SQL.

``fingerprint`` compares two databases. ``write`` writes the schema that all migrations together produce;
it is stored in ``store/sql/schema.sql`` for readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncpg

OWN = "relnamespace = 'public'::regnamespace"

FINGERPRINT = {
    "enums": "SELECT enumtypid::regtype::text, enumlabel, row_number() OVER (PARTITION BY enumtypid"
    " ORDER BY enumsortorder) FROM pg_enum",
    "domains": "SELECT oid::regtype::text, format_type(typbasetype, typtypmod), typnotnull FROM pg_type"
    " WHERE typtype = 'd' AND typnamespace = 'public'::regnamespace",
    "relations": f"SELECT relname, relkind::text, reloptions::text, relpersistence::text,"
    f" relrowsecurity FROM pg_class WHERE {OWN}",
    "columns": "SELECT a.attrelid::regclass::text, a.attnum, a.attname,"
    " format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity::text,"
    " a.attgenerated::text, a.attstorage::text, a.attcollation::text,"
    " pg_get_expr(d.adbin, d.adrelid)"
    " FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid"
    " LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    f" WHERE c.{OWN} AND a.attnum > 0 AND NOT a.attisdropped",
    "constraints": "SELECT conrelid::regclass::text, contypid::regtype::text, conname, contype::text, convalidated,"
    " pg_get_constraintdef(oid, true) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
    "indexes": f"SELECT pg_get_indexdef(i.indexrelid), i.indisunique, i.indisvalid"
    f" FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.{OWN}",
    "functions": "SELECT oid::regprocedure::text, pg_get_functiondef(oid) FROM pg_proc"
    " WHERE pronamespace = 'public'::regnamespace",
    "triggers": "SELECT tgrelid::regclass::text, tgname, tgenabled::text, pg_get_triggerdef(oid)"
    " FROM pg_trigger WHERE NOT tgisinternal",
    "views": f"SELECT relname, pg_get_viewdef(oid, true) FROM pg_class WHERE relkind = 'v' AND {OWN}",
    "sequences": "SELECT sequencename, data_type::text, start_value, increment_by, cycle"
    " FROM pg_sequences WHERE schemaname = 'public'",
    "page": "SELECT * FROM page",
    "stream": "SELECT * FROM stream_head",
}


async def fingerprint(connection: asyncpg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Read everything that two equal databases have in common."""
    return {
        name: sorted((tuple(row) for row in await connection.fetch(statement)), key=repr)
        for name, statement in FINGERPRINT.items()
    }


STATEMENTS = (
    # Each returns the text of statements, in an order in which they can be run.
    """SELECT format('CREATE TYPE %s AS ENUM (%s);', t.typname,
        string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder))
    FROM pg_type AS t JOIN pg_enum AS e ON e.enumtypid = t.oid GROUP BY t.typname
    ORDER BY t.typname""",
    """SELECT format('CREATE DOMAIN %s AS %s %s;', t.typname, format_type(t.typbasetype, t.typtypmod),
        string_agg(format('CONSTRAINT %s %s', quote_ident(c.conname), pg_get_constraintdef(c.oid, true)),
            ' ' ORDER BY c.conname))
    FROM pg_type AS t JOIN pg_constraint AS c ON c.contypid = t.oid AND c.contype = 'c'
    WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.oid, t.typname ORDER BY t.typname""",
    f"""SELECT format(E'CREATE TABLE %s (\\n%s\\n)%s;', c.relname,
        string_agg(format('    %s %s%s%s%s', quote_ident(a.attname),
            format_type(a.atttypid, a.atttypmod),
            CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY' END,
            CASE WHEN a.attnotnull THEN ' NOT NULL' END,
            ' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)), E',\\n' ORDER BY a.attnum),
        ' WITH (' || array_to_string(c.reloptions, ', ') || ')')
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND c.{OWN} GROUP BY c.oid, c.relname, c.reloptions
    ORDER BY c.relname""",
    """SELECT rtrim(pg_get_functiondef(oid), E'\\n') || ';' FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace ORDER BY proname""",
    """SELECT format('ALTER TABLE %s ADD CONSTRAINT %s %s;', conrelid::regclass, quote_ident(conname),
        pg_get_constraintdef(oid, true))
    FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'c', 'f') AND conrelid <> 0
    ORDER BY array_position('{p,u,c,f}', contype::text), conrelid::regclass::text, conname""",
    f"""SELECT pg_get_indexdef(i.indexrelid) || ';'
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.{OWN} AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = i.indexrelid)
    ORDER BY c.relname""",
    """SELECT pg_get_triggerdef(oid) || ';' || CASE tgenabled
        WHEN 'A' THEN format(E'\\nALTER TABLE %s ENABLE ALWAYS TRIGGER %s;', tgrelid::regclass, tgname)
        ELSE '' END
    FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname""",
    f"""SELECT format(E'CREATE VIEW %s AS\\n%s', relname, pg_get_viewdef(oid, true))
    FROM pg_class WHERE relkind = 'v' AND {OWN} ORDER BY relname""",
    """SELECT format('INSERT INTO page VALUES (%s, %s, %s, %s, %s, %s);',
        quote_literal(from_state), quote_literal(event), quote_literal(to_state),
        quote_nullable(does), quote_nullable(asks), quote_literal(reached))
    FROM page ORDER BY from_state, event""",
    """SELECT format('INSERT INTO stream_head (position) VALUES (%s);', position) FROM stream_head""",
)

HEADING = (
    "-- What all migrations amount to, for reading. Generated from a migrated database:\n"
    "-- SETTLEMENT_WRITE_SCHEMA=1 make test ARGS=tests/migration/test_schema.py\n"
)


async def write(connection: asyncpg.Connection) -> str:
    """Write SQL that creates an equal database."""
    parts = [HEADING]
    for statement in STATEMENTS:
        lines = [row[0] for row in await connection.fetch(statement)]
        parts.append("\n".join(line + "\n" for line in lines if line))
    text = "\n".join(parts)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
