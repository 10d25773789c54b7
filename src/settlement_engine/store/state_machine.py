"""The state machine as SQL: the CHECK on legal transitions and the table that names checkpoints.

The text is generated from ``domain/lifecycle.py`` and kept in the newest migration that changes it, where it
replaces the previous one; a test fails when the two differ. The table names events as text, so that one migration
may add an event and its transitions.
"""

from __future__ import annotations

from settlement_engine.domain.lifecycle import TRANSITIONS, is_recorded


def legal_moves() -> list[tuple[str, str, str]]:
    """List every transition that may be recorded: from, event, to."""
    return [
        (state.value, event.value, row.state.value)
        for state, rows in TRANSITIONS.items()
        for event, row in rows.items()
        if is_recorded(state, row)
    ]


def legal_answers() -> list[tuple[str, str]]:
    """List every answer that may leave a settlement in its state: state, event."""
    return [
        (state.value, event.value)
        for state, rows in TRANSITIONS.items()
        for event, row in rows.items()
        if not is_recorded(state, row)
    ]


def _legal_move() -> str:
    """Return the CHECK, grouped by the state that is left, so that each transition needs few comparisons."""
    lines = []
    for state in TRANSITIONS:
        ways = [(event, to) for source, event, to in legal_moves() if source == state.value]
        if ways:
            listed = ", ".join(f"('{event}', '{to}')" for event, to in ways)
            lines.append(f"        WHEN '{state.value}' THEN (event, to_state) IN ({listed})")
    return "    CASE from_state\n" + "\n".join(lines) + "\n        ELSE false\n    END"


def _legal_answer() -> str:
    listed = ",\n".join(f"        ('{state}', '{event}')" for state, event in legal_answers())
    return f"    (state, event) IN (\n{listed}\n    )\n"


def _checked_moves() -> str:
    return (
        "-- A function, whose plan the session keeps: the CHECK itself would be read and planned anew by\n"
        "-- every statement that writes moves, which costs more than writing a few.\n"
        "CREATE OR REPLACE FUNCTION is_legal_move(\n"
        "    from_state settlement_state, event settlement_event, to_state settlement_state\n"
        ") RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$\n"
        "BEGIN\n"
        "    RETURN\n"
        f"{_legal_move()};\n"
        "END $$;\n"
    )


def state_machine_sql() -> str:
    """Return the state machine as SQL."""
    rows = []
    for state, events in TRANSITIONS.items():
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
        f"{_checked_moves()}"
        "-- The list only grows: what stands there fulfils it.\n"
        "-- squawk-ignore ban-drop-constraint\n"
        "ALTER TABLE answers DROP CONSTRAINT legal_answer;\n"
        "-- squawk-ignore constraint-missing-not-valid\n"
        "ALTER TABLE answers ADD CONSTRAINT legal_answer CHECK (\n"
        f"{_legal_answer()}"
        ");\n"
        "\n"
        "TRUNCATE page;\n"
        "INSERT INTO page (from_state, event, to_state, does, asks, reached) VALUES\n"
        + ",\n".join(rows)
        + ";\n"
    )


if __name__ == "__main__":
    import sys

    sys.stdout.write(state_machine_sql())
