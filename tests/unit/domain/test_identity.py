"""One spelling for each name, and two people are not one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settlement_engine.domain.identity import (
    canonical,
    is_same_person,
    name_of_dns,
    name_of_uri,
    person_of,
)

ALICE = "spiffe://bank/alice"
SPELLINGS = [
    ALICE,
    "spiffe://bank/alice/",
    "spiffe://bank/alice///",
    "SPIFFE://Bank/alice",
    "spiffe://bank/%61lice",
    "spiffe://bank/%61%6C%69%63%65",
    "spiffe://b%61nk/alice%2e"[:-3],
]
NAMES = st.text(alphabet=st.sampled_from("%/:aAbZ.@? 0162fF5é\n"), max_size=20) | st.text(
    max_size=20
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_the_same_person(spelling: str) -> None:
    assert canonical(spelling) == ALICE == name_of_uri(spelling)
    assert is_same_person(spelling, ALICE)
    assert is_same_person(spelling, "spiffe://bank/ALICE/")


@pytest.mark.parametrize(
    "other",
    [
        "spiffe://bank/bob",
        "spiffe://bank/alice/bob",
        "spiffe://bank/alice%2Fbob",
        "spiffe://other/alice",
        "https://bank/alice",
        "alice",
        "bank",
        "",
    ],
)
def test_another_person_is_another_person(other: str) -> None:
    assert not is_same_person(ALICE, other)


def test_the_path_of_a_name_keeps_its_capitals_and_makes_no_second_person() -> None:
    assert name_of_uri("spiffe://Bank/Alice") == "spiffe://bank/Alice"
    assert is_same_person("spiffe://bank/Alice", ALICE)


@given(NAMES)
def test_the_one_spelling_is_its_own(name: str) -> None:
    assert canonical(canonical(name)) == canonical(name)
    assert person_of(canonical(name)) == person_of(person_of(name)) == person_of(name)


@given(NAMES)
def test_what_names_somebody_is_in_its_one_spelling_and_of_one_kind(name: str) -> None:
    uri, dns = name_of_uri(name), name_of_dns(name)
    assert uri is None or (":" in uri and canonical(uri) == uri)
    assert dns is None or (":" not in dns and canonical(dns) == dns)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Clearing.Example", "clearing.example"),
        ("bank", "bank"),
        ("*.example", None),
        ("a..b", None),
        ("example.", None),
        ("a b", None),
        (ALICE, None),
        ("", None),
        ("a" * 257, None),
    ],
)
def test_a_dns_name_is_a_host(name: str, found: str | None) -> None:
    assert name_of_dns(name) == found


def test_other_uris_name_somebody_too() -> None:
    assert name_of_uri("URN:bank:Alice") == "urn:bank:Alice"
    assert name_of_uri("https://bank.example/alice/") == "https://bank.example/alice"
