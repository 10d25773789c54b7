"""The page, written in SQL: the CHECK on legal moves and the table that names checkpoints.

The text is generated from ``domain/lifecycle.py`` and kept in the migrations; a test fails when the
two differ.
"""

from __future__ import annotations

from settlement_engine.domain.lifecycle import LIFE, is_recorded


def legal_moves() -> list[tuple[str, str, str]]:
    """List every move that may be recorded: from, event, to."""
    return [
        (state.value, event.value, row.state.value)
        for state, rows in LIFE.items()
        for event, row in rows.items()
        if is_recorded(state, row)
    ]


def page_sql() -> str:
    """Write the page as SQL."""
    moves = ",\n".join(f"        ('{a}', '{b}', '{c}')" for a, b, c in legal_moves())
    rows = []
    for state, events in LIFE.items():
        for event, row in events.items():
            does = f"'{row.do.value}'" if row.do else "NULL"
            asks = f"'{row.ask.value}'" if row.ask else "NULL"
            reached = ", ".join(f"'{name}'" for name in row.reached)
            rows.append(
                f"    ('{state.value}', '{event.value}', '{row.state.value}', {does}, {asks},"
                f" ARRAY[{reached}]::text[])"
            )
    return (
        "-- Generated from the page (domain/lifecycle.py) by `python -m settlement_engine.store.page`.\n"
        "\n"
        "ALTER TABLE moves ADD CONSTRAINT legal_move CHECK (\n"
        "    (from_state, event, to_state) IN (\n"
        f"{moves}\n"
        "    )\n"
        ");\n"
        "\n"
        "CREATE TABLE page (\n"
        "    from_state settlement_state NOT NULL,\n"
        "    event settlement_event NOT NULL,\n"
        "    to_state settlement_state NOT NULL,\n"
        "    does text,\n"
        "    asks text,\n"
        "    reached text[] NOT NULL,\n"
        "    PRIMARY KEY (from_state, event)\n"
        ");\n"
        "INSERT INTO page (from_state, event, to_state, does, asks, reached) VALUES\n"
        + ",\n".join(rows)
        + ";\n"
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(page_sql())
