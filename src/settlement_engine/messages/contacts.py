"""Contact details of a party or an institution."""

from __future__ import annotations

import msgspec

from settlement_engine.messages.forms import Form, many, one, opt
from settlement_engine.messages.leaves import (
    MAX4,
    MAX35,
    MAX70,
    MAX128,
    MAX140,
    MAX2048,
    PHONE,
    choice,
)


class OtherContact(msgspec.Struct, frozen=True, kw_only=True):
    """Another channel."""

    channel: str
    id: str | None = None


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A contact person, and how to reach them."""

    prefix: str | None = None
    name: str | None = None
    phone: str | None = None
    mobile: str | None = None
    fax: str | None = None
    email: str | None = None
    email_purpose: str | None = None
    role: str | None = None
    responsibility: str | None = None
    department: str | None = None
    other: str | None = None
    others: tuple[OtherContact, ...] = ()
    preferred: str | None = None


_OTHER = Form(OtherContact, (one("ChanlTp", "channel", MAX4), opt("Id", "id", MAX128)))
CONTACT = Form(
    Contact,
    (
        opt("NmPrfx", "prefix", choice("DOCT", "MIST", "MISS", "MADM"), until=2018),
        opt("NmPrfx", "prefix", choice("DOCT", "MADM", "MISS", "MIST", "MIKS"), since=2019),
        opt("Nm", "name", MAX140),
        opt("PhneNb", "phone", PHONE),
        opt("MobNb", "mobile", PHONE),
        opt("FaxNb", "fax", PHONE),
        opt("EmailAdr", "email", MAX2048),
        opt("EmailPurp", "email_purpose", MAX35, since=2019),
        opt("JobTitl", "role", MAX35, since=2019),
        opt("Rspnsblty", "responsibility", MAX35, since=2019),
        opt("Dept", "department", MAX70, since=2019),
        opt("Othr", "other", MAX35, until=2018),
        many("Othr", "others", _OTHER, since=2019),
        opt("PrefrdMtd", "preferred", choice("LETT", "MAIL", "PHON", "FAXX", "CELL"), since=2019),
    ),
)
