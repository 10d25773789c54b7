"""Charges of a return: how much of them FROM is billed for, by charge bearer."""

from __future__ import annotations

import pytest

from settlement_engine.domain.charges import (
    CHARGED_BY_MAX,
    charged_by_text,
    is_as_borne,
    read_charged_by,
    rebilled_minor,
)
from settlement_engine.domain.payment_checks import CHARGE_BEARERS

FROM = "DEUTDEFF"
BY_BOTH = (("DEUTDEFFXXX", 30), ("CHASUS33", 70))


@pytest.mark.parametrize(
    ("bearer", "charged_by", "billed"),
    [
        ("DEBT", (), 100),
        ("DEBT", BY_BOTH, 100),
        ("SHAR", BY_BOTH, 30),
        ("SHAR", (), 0),
        ("SHAR", (("", 100),), 0),
        ("SHAR", ((FROM, 500),), 100),
        ("CRED", BY_BOTH, 0),
        ("SLEV", BY_BOTH, 0),
        ("", BY_BOTH, 0),
    ],
)
def test_from_is_billed_for_what_it_bears(bearer, charged_by, billed):
    assert bearer in (*CHARGE_BEARERS, "")
    assert rebilled_minor(bearer, 100, FROM, charged_by) == billed
    detail = {"charges_minor": "100", "charged_by": charged_by_text(charged_by)}
    assert is_as_borne(detail, bearer, FROM), "as older versions have recorded it"
    if any(agent for agent, _ in charged_by) or not charged_by:
        assert is_as_borne({**detail, "rebilled_minor": str(billed)}, bearer, FROM)
    assert not is_as_borne({**detail, "rebilled_minor": str(billed + 1)}, bearer, FROM)


def test_only_so_many_agents_are_told_apart():
    many = [("CHASUS33", 1)] * CHARGED_BY_MAX + [(FROM, 5)]
    assert rebilled_minor("SHAR", 100, FROM, many) == 0
    assert len(read_charged_by(charged_by_text(many))) == CHARGED_BY_MAX


def test_who_charged_is_read_back_and_anything_else_is_refused():
    assert read_charged_by(charged_by_text(BY_BOTH)) == BY_BOTH
    assert read_charged_by("") == ()
    for text in ("DEUTDEFF", "DEUTDEFF x", "DEUTDEFF 1 2"):
        with pytest.raises(ValueError, match=r"unpack|invalid literal"):
            read_charged_by(text)
        assert not is_as_borne({"rebilled_minor": "1", "charged_by": text}, "SHAR", FROM)
