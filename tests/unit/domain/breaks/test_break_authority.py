from __future__ import annotations

import pytest

from settlement_engine.domain.breaks.authority import (
    ANYBODY,
    ResolutionRole,
    check_has_role,
    check_limit,
    roles_of,
)
from settlement_engine.errors import NotPermitted

STAFF = ResolutionRole(
    name="settlement",
    persons=("anna", "spiffe://bank/ben"),
    limits_minor={"USD": 1_000_00, "EUR": 900_00},
)
LEAD = ResolutionRole(name="lead", persons=("cleo", "anna"), limits_minor={"USD": 50_000_00})
HEAD = ResolutionRole(name="head", persons=("dora",))
ROLES = (STAFF, LEAD, HEAD)


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("anna", ["settlement", "lead"]),
        ("ANNA", ["settlement", "lead"]),
        ("SPIFFE://BANK/ben/", ["settlement"]),
        ("cleo", ["lead"]),
        ("nobody-known", []),
        ("*", []),
    ],
)
def test_a_person_has_roles_however_the_name_is_spelled(who, names):
    assert [each.name for each in roles_of(ROLES, who)] == names


@pytest.mark.parametrize(
    ("who", "currency", "amount", "role"),
    [
        ("anna", "USD", 1_000_00, "settlement"),
        ("anna", "USD", -1_000_00, "settlement"),
        ("anna", "USD", 1_000_01, "lead"),
        ("anna", "USD", 50_000_01, None),
        ("anna", "JPY", 1, None),
        ("cleo", "EUR", 1, None),
        ("spiffe://bank/ben", "EUR", 900_00, "settlement"),
        ("dora", "JPY", 10**15, "head"),
        ("eve", "USD", 0, None),
    ],
)
def test_the_limit_of_the_role_counts(who, currency, amount, role):
    if role is not None:
        assert check_limit(ROLES, who, currency, amount).name == role
        return
    with pytest.raises(NotPermitted):
        check_limit(ROLES, who, currency, amount)


def test_a_refusal_names_the_limit_and_the_amount():
    with pytest.raises(NotPermitted) as raised:
        check_limit(ROLES, "cleo", "USD", -60_000_00)
    assert (
        raised.value.what == "cleo may approve up to 50000.00 USD, and this is about 60000.00 USD"
    )


def test_without_roles_nobody_resolves_anything():
    with pytest.raises(NotPermitted):
        check_has_role((), "anna")


def test_a_role_of_anybody_is_everybodys():
    check_has_role([ResolutionRole(name="all", persons=(ANYBODY,))], "whoever")
