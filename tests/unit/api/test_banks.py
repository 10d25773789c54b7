"""The calls of BankService: what an entry must say, who may write, and versions as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from settlement_engine.api.accounts import KINDS, OF_RAILS
from settlement_engine.api.call import ACTOR_HEADER
from settlement_engine.domain.ledger import AccountKind
from settlement_engine.proto import settlement_pb2 as pb
from tests.unit.api.test_grpc import failed, violations

if TYPE_CHECKING:
    from tests.unit.api.conftest import Edge

ADA = ((ACTOR_HEADER, "ada"),)
GRACE = ((ACTOR_HEADER, "grace"),)
IBAN = "DE56500700100123456600"
CARD = "4111111111111111"


def entry(**change: Any) -> pb.Bank:
    full: dict[str, Any] = {
        "code": "deutdeffxxx",
        "name": "Deutsche Bank AG",
        "address": pb.PostalAddress(country="DE", town_name="Frankfurt", post_code="60325"),
        "lei": "7LTWFZYICNSX8D621K86",
        "clearing_members": [pb.ClearingMember(system="USABA", member_id="021000021")],
        "instructions": [instruction()],
        "rails": ["swift", "sepa_sct"],
    }
    return pb.Bank(**full | change)


def instruction(**change: Any) -> pb.StandingInstruction:
    full: dict[str, Any] = {
        "currency": "EUR",
        "our_account": pb.PaymentAccount(iban=IBAN),
        "correspondent": "CHASUS33",
        "method": pb.CORRESPONDENT_METHOD_COVER,
    }
    return pb.StandingInstruction(**full | change)


async def put(edge: Edge, bank: pb.Bank, who: Any = ADA, after: int = 0) -> pb.Bank:
    request = pb.PutBankRequest(bank=bank, after_version=after)
    return await edge.banks.PutBank(request, metadata=who)


async def test_an_entry_is_written_and_read_back(edge: Edge) -> None:
    written = await put(edge, entry())
    assert (written.code, written.bic, written.version) == ("DEUTDEFF", "DEUTDEFF", 1)
    assert (written.changed_by, written.unchanged, list(written.warnings)) == ("ada", False, [])
    found = await edge.banks.GetBank(pb.GetBankRequest(code="DEUTDEFFXXX"))
    assert found == written
    expected = entry(code="DEUTDEFF", bic="DEUTDEFF", rails=["sepa_sct", "swift"])
    for field in ("name", "address", "lei", "clearing_members", "instructions", "rails"):
        assert getattr(found, field) == getattr(expected, field), field


async def test_a_change_is_a_new_version_and_the_old_one_is_still_there(edge: Edge) -> None:
    await put(edge, entry())
    changed = await put(edge, entry(name="Another", is_withdrawn=True), GRACE, after=1)
    assert (changed.version, changed.changed_by, changed.is_withdrawn) == (2, "grace", True)
    again = await put(edge, entry(name="Another", is_withdrawn=True), ADA)
    assert (again.version, again.changed_by, again.unchanged) == (2, "grace", True)
    first = await edge.banks.GetBank(pb.GetBankRequest(code="DEUTDEFF", version=1))
    assert (first.name, first.changed_by) == ("Deutsche Bank AG", "ada")
    error = await failed(put(edge, entry(name="Third"), after=1))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_only_a_named_person_writes(edge: Edge, make_edge: Any) -> None:
    error = await failed(put(edge, entry(), ()))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    certified = await make_edge(trusts_names=False)
    error = await failed(put(certified, entry(), ADA))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    error = await failed(edge.banks.GetBank(pb.GetBankRequest(code="DEUTDEFF")))
    assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"code": ""}, "code"),
        ({"code": "..."}, "code"),
        ({"name": " "}, "name"),
        ({"name": "x" * 141}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": CARD}, "name"),
        ({"bic": "CHASUS33"}, "bic"),
        ({"code": "BANK0001", "bic": "DEUTXXFF"}, "bic"),
        ({"code": "BANK0001", "bic": "DEUTDEF"}, "bic"),
        ({"lei": "7LTWFZYICNSX8D621K87"}, "lei"),
        ({"address": pb.PostalAddress(country="D", town_name="F")}, "address.country"),
        (
            {"address": pb.PostalAddress(country="DE", town_name="F", street_name="x" * 71)},
            "address.street_name",
        ),
        (
            {"clearing_members": [pb.ClearingMember(system="USABA", member_id="021000022")]},
            "clearing_members[0].member_id",
        ),
        (
            {"clearing_members": [pb.ClearingMember(system="GBDSC", member_id="1" * 36)]},
            "clearing_members[0].member_id",
        ),
        ({"instructions": [instruction(currency="EUX")]}, "instructions[0].currency"),
        ({"instructions": [instruction(currency="")]}, "instructions[0].currency"),
        (
            {"instructions": [instruction(our_account=pb.PaymentAccount(iban="DE00" + IBAN[4:]))]},
            "instructions[0].our_account.iban",
        ),
        (
            {"instructions": [instruction(their_account=pb.PaymentAccount(other_id="x" * 35))]},
            "instructions[0].their_account.other_id",
        ),
        ({"instructions": [instruction(correspondent="?")]}, "instructions[0].correspondent"),
        ({"instructions": [instruction(method=9)]}, "instructions[0].method"),
        ({"rails": ["no rail"]}, "rails"),
    ],
)
async def test_a_faulty_entry_names_its_field_and_writes_nothing(edge, change, field) -> None:
    error = await failed(put(edge, entry(**change)))
    assert f"bank.{field}" in violations(error)
    listed = await edge.banks.ListBanks(pb.ListBanksRequest(include_withdrawn=True))
    assert not listed.banks


async def test_what_lists_do_not_know_is_a_warning(edge: Edge) -> None:
    found = await put(edge, entry(code="CHASUS33", instructions=[]))
    assert found.bic == "CHASUS33"
    [warning] = found.warnings
    assert warning.startswith("bic ")
    numbered = instruction(our_account=pb.PaymentAccount(other_id=CARD))
    found = await put(edge, entry(instructions=[numbered]))
    [warning] = found.warnings
    assert "card number" in warning
    assert CARD not in warning


async def test_a_code_that_is_no_bic_may_have_one(edge: Edge) -> None:
    assert (await put(edge, entry(code="bank0001"))).bic == ""
    assert (await put(edge, entry(code="bank0002", bic="DEUTDEFFXXX"))).bic == "DEUTDEFF"


async def test_banks_are_listed_in_pages(edge: Edge) -> None:
    for number in range(5):
        await put(edge, entry(code=f"BANK{number}000"))
    request = pb.ListBanksRequest(page_size=2, rail="swift")
    codes = []
    while True:
        page = await edge.banks.ListBanks(request)
        codes += [bank.code for bank in page.banks]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert codes == [f"BANK{number}000" for number in range(5)]
    request.rail = "ach"
    assert violations(await failed(edge.banks.ListBanks(request))) == ["page_token"]
    for request, field in (
        (pb.ListBanksRequest(currency="eur"), "currency"),
        (pb.ListBanksRequest(page_size=-1), "page_size"),
    ):
        assert violations(await failed(edge.banks.ListBanks(request))) == [field]
    error = await failed(edge.banks.GetBank(pb.GetBankRequest(code="", version=-1)))
    assert violations(error) == ["code", "version"]


async def test_the_calls_are_served_in_json(edge: Edge) -> None:
    body = {"bank": {"code": "BANK0001", "name": "A bank", "rails": ["ach"]}}
    status, answer, _ = await edge.post("PutBank", body, headers={ACTOR_HEADER: "ada"})
    assert (status, answer["code"], answer["version"]) == (200, "BANK0001", 1)
    status, answer, _ = await edge.post("GetBank", {"code": "bank0001"})
    assert (status, answer["changedBy"]) == (200, "ada")


async def test_accounts_of_banks_need_a_listed_bank_where_that_is_configured(make_edge) -> None:
    for needs in (False, True):
        edge = await make_edge(needs_listed_banks=needs)
        edge.world.specs.clear()
        for number in KINDS:
            kind: Any = number
            request = pb.OpenAccountRequest(kind=kind, bank="DEUTDEFF", currency="EUR")
            await edge.accounts.OpenAccount(request)
        asked = {spec.kind for spec in edge.world.specs if spec.needs_listed_bank}
        assert asked == (set(AccountKind) - OF_RAILS if needs else set())
