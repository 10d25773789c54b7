"""Builds the regulatory reporting: the templates that come with the engine, and those of the configured directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from settlement_engine.domain.regulatory_report import ReportingInstitution
from settlement_engine.engine.regulatory_reporting import RegulatoryReporting
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.errors import MessageError
from settlement_engine.messages.report_templates import (
    TEMPLATE_BYTES_MAX,
    read_template,
    shipped_templates,
)

if TYPE_CHECKING:
    from pathlib import Path

    from settlement_engine.config import Config
    from settlement_engine.domain.regulatory_report import ReportTemplate
    from settlement_engine.ports import RegulatoryStore

TEMPLATES_MAX: Final = 1_000
"""The most templates of a directory."""


def regulatory_reporting(config: Config, store: RegulatoryStore) -> RegulatoryReporting:
    """Build the reporting. Raises Misconfigured."""
    section = config.institution
    institution = ReportingInstitution(name=section.name, bic=section.bic, lei=section.lei)
    return RegulatoryReporting(store, report_templates(config), institution)


def report_templates(config: Config) -> list[ReportTemplate]:
    """Read all templates. Raises Misconfigured for one that cannot be read, and for two of one name."""
    templates = shipped_templates()
    folder = config.reports.template_dir
    if folder is None:
        return templates
    try:
        paths = sorted(folder.glob("*.toml"))
        if len(paths) > TEMPLATES_MAX or not folder.is_dir():
            raise Misconfigured(
                f"[reports] template_dir {folder} cannot be used",
                why=f"it is no directory, or has more than {TEMPLATES_MAX:,} templates",
                todo="Name a directory with TOML files.",
            )
        templates += [_read(path) for path in paths]
    except OSError as error:
        what = f"[reports] template_dir {folder} cannot be read"
        raise Misconfigured(what, why=error.strerror or "", todo="Correct it.") from None
    names = [each.name for each in templates]
    for name in names:
        if names.count(name) > 1:
            what = f"two templates of regulatory reports have the name {name}"
            raise Misconfigured(what, todo="Give yours a name of its own.")
    return templates


def _read(path: Path) -> ReportTemplate:
    try:
        with path.open("rb") as opened:
            content = opened.read(TEMPLATE_BYTES_MAX + 1)
        return read_template(content.decode())
    except (MessageError, UnicodeDecodeError) as error:
        what = f"the template {path} cannot be read"
        raise Misconfigured(what, why=str(error), todo="Correct the template.") from None
