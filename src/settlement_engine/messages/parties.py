"""The participants of a payment: institutions, parties, their addresses and accounts."""

from __future__ import annotations

from datetime import date  # noqa: TC003 -- a struct's field

import msgspec

from settlement_engine.messages.contacts import CONTACT, Contact
from settlement_engine.messages.forms import (
    Element,
    Form,
    code_or_own,
    either,
    inside,
    many,
    one,
    opt,
)
from settlement_engine.messages.leaves import (
    BIC,
    BIC_2009,
    COUNTRY,
    CURRENCY,
    DATE,
    IBAN,
    LEI,
    MAX4,
    MAX5,
    MAX16,
    MAX34,
    MAX35,
    MAX70,
    MAX140,
    MAX2048,
    Leaf,
    choice,
    open_choice,
    pattern,
)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A postal address: structured, in lines, or both (hybrid)."""

    type: str | None = None
    type_own: str | None = None
    type_own_issuer: str | None = None
    type_own_scheme: str | None = None
    department: str | None = None
    sub_department: str | None = None
    street_name: str | None = None
    building_number: str | None = None
    building_name: str | None = None
    floor: str | None = None
    post_box: str | None = None
    room: str | None = None
    post_code: str | None = None
    town_name: str | None = None
    town_location_name: str | None = None
    district_name: str | None = None
    country_sub_division: str | None = None
    country: str | None = None
    lines: tuple[str, ...] = ()


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """A financial institution, and its branch."""

    bic: str | None = None
    clearing_system: str | None = None
    clearing_system_own: str | None = None
    clearing_member_id: str | None = None
    lei: str | None = None
    name: str | None = None
    address: Address | None = None
    other_id: str | None = None
    other_scheme: str | None = None
    other_scheme_own: str | None = None
    other_issuer: str | None = None
    branch_id: str | None = None
    branch_lei: str | None = None
    branch_name: str | None = None
    branch_address: Address | None = None


class OtherId(msgspec.Struct, frozen=True, kw_only=True):
    """An identifier, and its scheme."""

    id: str
    scheme: str | None = None
    scheme_own: str | None = None
    issuer: str | None = None


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """An organisation or a person."""

    name: str | None = None
    address: Address | None = None
    bic: str | None = None
    lei: str | None = None
    organisation_ids: tuple[OtherId, ...] = ()
    birth_date: date | None = None
    birth_province: str | None = None
    birth_city: str | None = None
    birth_country: str | None = None
    person_ids: tuple[OtherId, ...] = ()
    country_of_residence: str | None = None
    contact: Contact | None = None


class PartyAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An account, by its IBAN or by another identifier."""

    iban: str | None = None
    other_id: str | None = None
    other_scheme: str | None = None
    other_scheme_own: str | None = None
    other_issuer: str | None = None
    type: str | None = None
    type_own: str | None = None
    currency: str | None = None
    name: str | None = None
    proxy_type: str | None = None
    proxy_type_own: str | None = None
    proxy_id: str | None = None


_ADDRESS_TYPE = choice("ADDR", "PBOX", "HOME", "BIZZ", "MLTO", "DLVY")
_FOUR = pattern("[a-zA-Z0-9]{4}", "four letters or digits")
ADDRESS = Form(
    Address,
    (
        opt("AdrTp", "type", _ADDRESS_TYPE, until=2018),
        either(
            "AdrTp",
            opt("Cd", "type", _ADDRESS_TYPE),
            inside(
                "Prtry",
                one("Id", "type_own", _FOUR),
                one("Issr", "type_own_issuer", MAX35),
                opt("SchmeNm", "type_own_scheme", MAX35),
            ),
            since=2019,
        ),
        opt("Dept", "department", MAX70),
        opt("SubDept", "sub_department", MAX70),
        opt("StrtNm", "street_name", MAX70),
        opt("BldgNb", "building_number", MAX16),
        opt("BldgNm", "building_name", MAX35, since=2019),
        opt("Flr", "floor", MAX70, since=2019),
        opt("PstBx", "post_box", MAX16, since=2019),
        opt("Room", "room", MAX70, since=2019),
        opt("PstCd", "post_code", MAX16),
        opt("TwnNm", "town_name", MAX35),
        opt("TwnLctnNm", "town_location_name", MAX35, since=2019),
        opt("DstrctNm", "district_name", MAX35, since=2019),
        opt("CtrySubDvsn", "country_sub_division", MAX35),
        opt("Ctry", "country", COUNTRY),
        many("AdrLine", "lines", MAX70, most=7),
    ),
)


def _other(identifier: Leaf) -> Element:
    return inside(
        "Othr",
        one("Id", "other_id", identifier),
        code_or_own("SchmeNm", "other_scheme", MAX4, MAX35),
        opt("Issr", "other_issuer", MAX35),
    )


AGENT = Form(
    Agent,
    (
        inside(
            "FinInstnId",
            opt("BIC", "bic", BIC_2009, until=2009),
            opt("BICFI", "bic", BIC_2009, since=2013, until=2018),
            opt("BICFI", "bic", BIC, since=2019),
            inside(
                "ClrSysMmbId",
                code_or_own("ClrSysId", "clearing_system", MAX5, MAX35),
                one("MmbId", "clearing_member_id", MAX35),
            ),
            opt("LEI", "lei", LEI, since=2019),
            opt("Nm", "name", MAX140),
            opt("PstlAdr", "address", ADDRESS),
            _other(MAX35),
            least=1,
        ),
        inside(
            "BrnchId",
            opt("Id", "branch_id", MAX35),
            opt("LEI", "branch_lei", LEI, since=2019),
            opt("Nm", "branch_name", MAX140),
            opt("PstlAdr", "branch_address", ADDRESS),
        ),
    ),
)

_OTHER_ID = Form(
    OtherId,
    (
        one("Id", "id", MAX35),
        code_or_own("SchmeNm", "scheme", MAX4, MAX35),
        opt("Issr", "issuer", MAX35),
    ),
)

PARTY = Form(
    Party,
    (
        opt("Nm", "name", MAX140),
        opt("PstlAdr", "address", ADDRESS),
        either(
            "Id",
            inside(
                "OrgId",
                opt("BICOrBEI", "bic", BIC_2009, until=2009),
                opt("AnyBIC", "bic", BIC_2009, since=2013, until=2018),
                opt("AnyBIC", "bic", BIC, since=2019),
                opt("LEI", "lei", LEI, since=2019),
                many("Othr", "organisation_ids", _OTHER_ID),
            ),
            inside(
                "PrvtId",
                inside(
                    "DtAndPlcOfBirth",
                    one("BirthDt", "birth_date", DATE),
                    opt("PrvcOfBirth", "birth_province", MAX35),
                    one("CityOfBirth", "birth_city", MAX35),
                    one("CtryOfBirth", "birth_country", COUNTRY),
                ),
                many("Othr", "person_ids", _OTHER_ID),
            ),
        ),
        opt("CtryOfRes", "country_of_residence", COUNTRY),
        opt("CtctDtls", "contact", CONTACT),
    ),
)

_TYPE_2009 = open_choice(
    *("CASH", "CHAR", "COMM", "TAXE", "CISH", "TRAS", "SACC", "CACC", "SVGS", "ONDP", "MGLD"),
    *("NREX", "MOMA", "LOAN", "SLRY", "ODFT"),
)
ACCOUNT_ELEMENTS = (
    either("Id", opt("IBAN", "iban", IBAN), _other(MAX34), least=1, until=2020),
    either("Id", opt("IBAN", "iban", IBAN), _other(MAX34), since=2021),
    either("Tp", opt("Cd", "type", _TYPE_2009), opt("Prtry", "type_own", MAX35), until=2009),
    code_or_own("Tp", "type", MAX4, MAX35, since=2013),
    opt("Ccy", "currency", CURRENCY),
    opt("Nm", "name", MAX70),
    inside(
        "Prxy",
        code_or_own("Tp", "proxy_type", MAX4, MAX35),
        one("Id", "proxy_id", MAX2048),
        since=2019,
    ),
)
ACCOUNT = Form(PartyAccount, ACCOUNT_ELEMENTS)


def party_or_agent(tag: str, field: str, *, least: int = 0, since: int = 2009) -> Element:
    """Describe an element that holds a party, or else an institution."""
    return either(
        tag,
        opt("Pty", field, PARTY),
        opt("Agt", f"{field}_institution", AGENT),
        least=least,
        since=since,
    )
