"""Templates of regulatory reports: TOML files that say which columns an authority wants.

Promises: a template is read whole or refused with the place of its fault; the shipped ones are samples, and say so.
Must never: be taken for the layout of an authority that has not confirmed it.
"""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Any, Final

from settlement_engine.domain.regulatory_report import (
    FACTS,
    GROUPS,
    RegulatoryReport,
    ReportTemplate,
    TemplateColumn,
)
from settlement_engine.messages.errors import MessageError, quoted
from settlement_engine.messages.report_files import ReportFormat

TEMPLATE_BYTES_MAX: Final = 64 * 1024
COLUMNS_MAX: Final = 100
VERSION_MAX: Final = 1_000_000
TITLE_CHARACTERS_MAX: Final = 200

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_KEYS: Final = frozenset(
    {"name", "version", "title", "is_sample", "format", "counterparty", "group_by", "columns"}
)


def read_template(content: str) -> ReportTemplate:
    """Read a template. Raises MessageError."""
    if len(content.encode()) > TEMPLATE_BYTES_MAX:
        raise MessageError("", f"a template has at most {TEMPLATE_BYTES_MAX} bytes")
    try:
        said = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise MessageError("", f"is no TOML: {error}") from None
    if unknown := said.keys() - _KEYS:
        raise MessageError(min(unknown), "is no key of a template")
    version = said.get("version")
    if type(version) is not int or not 1 <= version <= VERSION_MAX:
        raise MessageError("version", "must be a whole number from 1")
    is_sample = said.get("is_sample", False)
    if not isinstance(is_sample, bool):
        raise MessageError("is_sample", "must be true or false")
    group_by = _groups(said)
    return ReportTemplate(
        name=_text(said, "name", _NAME),
        version=version,
        title=_text(said, "title", None),
        is_sample=is_sample,
        format=_one_of(said, "format", tuple(ReportFormat)),
        counterparty=_one_of(said, "counterparty", ("from_bank", "to_bank")),
        group_by=group_by,
        columns=_columns(said, group_by),
        content=content,
    )


def shipped_templates() -> list[ReportTemplate]:
    """Read the templates that come with the engine."""
    folder = files("settlement_engine.messages") / "report_templates_shipped"
    found = (each for each in folder.iterdir() if each.name.endswith(".toml"))
    return sorted(
        (read_template(each.read_text("utf-8")) for each in found), key=lambda each: each.name
    )


def template_of(report: RegulatoryReport) -> ReportTemplate:
    """Read the template with which a report was made."""
    return read_template(report.template_content)


def _text(said: dict[str, Any], key: str, form: re.Pattern[str] | None) -> str:
    text = said.get(key)
    if (
        not isinstance(text, str)
        or not 0 < len(text) <= TITLE_CHARACTERS_MAX
        or not text.isprintable()
    ):
        raise MessageError(key, f"must be a text of at most {TITLE_CHARACTERS_MAX} characters")
    if form is not None and form.fullmatch(text) is None:
        raise MessageError(key, "must be a-z, 0-9 and _, and begin with a letter")
    return text


def _one_of(said: dict[str, Any], key: str, allowed: tuple[str, ...]) -> str:
    text = said.get(key)
    if text not in allowed:
        raise MessageError(key, f"must be one of {', '.join(allowed)}")
    return str(text)


def _groups(said: dict[str, Any]) -> tuple[str, ...]:
    groups = said.get("group_by")
    is_list = isinstance(groups, list) and all(isinstance(each, str) for each in groups)
    if (
        not isinstance(groups, list)
        or not is_list
        or set(groups) - set(GROUPS)
        or "currency" not in groups
    ):
        raise MessageError("group_by", f"must be a list of {', '.join(GROUPS)}, with currency")
    return tuple(groups)


def _columns(said: dict[str, Any], group_by: tuple[str, ...]) -> tuple[TemplateColumn, ...]:
    listed = said.get("columns")
    if not isinstance(listed, list) or not 0 < len(listed) <= COLUMNS_MAX:
        raise MessageError("columns", f"must be a list of 1 to {COLUMNS_MAX} columns")
    found = tuple(_column(number, each, group_by) for number, each in enumerate(listed, 1))
    if len({each.name for each in found}) < len(found):
        raise MessageError("columns", "has two columns of one name")
    return found


def _column(number: int, said: object, group_by: tuple[str, ...]) -> TemplateColumn:
    place = f"columns[{number}]"
    if not isinstance(said, dict) or said.keys() != {"name", "value"}:
        raise MessageError(place, "must have name and value")
    name, value = said["name"], said["value"]
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= TITLE_CHARACTERS_MAX
        or not name.isprintable()
    ):
        raise MessageError(f"{place}.name", "must be a text")
    if value not in FACTS and value not in group_by and value != "booking_date":
        known = ", ".join((*group_by, *FACTS))
        raise MessageError(f"{place}.value", f"{quoted(str(value))} is not one of {known}")
    return TemplateColumn(name=name, value=str(value))
