"""Which spellings name the same bank."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.bank_codes import fault_of_bank, folded_bank, is_same_bank

CODES = st.text("ABCXYZabcxyz0189._-", min_size=1, max_size=20)
BICS = st.from_regex(r"\A[A-Za-z0-9]{4}[A-Za-z]{2}[A-Za-z0-9]{2}\Z").filter(str.isascii)


@pytest.mark.parametrize(
    ("code", "folded"),
    [
        ("SBZAZAJJ", "SBZAZAJJ"),
        ("sbzazajj", "SBZAZAJJ"),
        ("SbZaZaJJxXx", "SBZAZAJJ"),
        ("SBZAZAJJXXX", "SBZAZAJJ"),
        ("SBZAZAJJ123", "SBZAZAJJ123"),  # a branch is not the head office
        ("bank0001", "BANK0001"),
        ("12345678XXX", "12345678XXX"),  # no country: not a BIC, so XXX says nothing
        ("SBZAZAJJXX", "SBZAZAJJXX"),
        ("A.SBZAZAXXX", "A.SBZAZAXXX"),
    ],
)
def test_a_code_is_folded(code, folded):
    assert folded_bank(code) == folded


@given(CODES)
def test_folding_twice_is_folding_once(code):
    assert folded_bank(folded_bank(code)) == folded_bank(code)


@given(BICS)
def test_every_spelling_of_a_bic_is_the_same_bank(bic):
    spellings = [bic, bic.lower(), bic.upper(), bic + "XXX", bic.lower() + "xxx", bic + "Xxx"]
    assert {folded_bank(spelling) for spelling in spellings} == {bic.upper()}
    assert all(is_same_bank(bic, spelling) for spelling in spellings)
    assert not is_same_bank(bic, bic + "001")


@pytest.mark.parametrize("code", ["BANK0001", "bank0001", "SBZAZAJJXXX", "1", "a.b_c-d", "._-9"])
def test_a_code_need_not_be_a_bic(code):
    assert fault_of_bank(code) == ""


@pytest.mark.parametrize("code", ["....", "-", "_", "._-", "-" * 20])
def test_punctuation_alone_is_refused_by_name(code):
    assert "punctuation" in fault_of_bank(code)


@pytest.mark.parametrize("code", ["", "A" * 21, "A B", "\uff21BC", "BANK\n", "bank\u00e9"])
def test_what_is_no_code_is_refused(code):
    assert "1 to 20" in fault_of_bank(code)
