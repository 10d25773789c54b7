"""The templates of regulatory reports, as the configuration names them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from settlement_engine.app.report_templates import report_templates
from settlement_engine.config import Config
from settlement_engine.errors import Misconfigured
from settlement_engine.messages.report_templates import shipped_templates

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = shipped_templates()[0]


def configured(folder: Path | None) -> Config:
    return Config.model_validate({"reports": {"template_dir": folder}})


def own(name: str) -> str:
    return SAMPLE.content.replace(SAMPLE.name, name)


def test_own_templates_are_added_to_the_samples(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(own("of_our_central_bank"))
    (tmp_path / "notes.txt").write_text("no template")
    names = [each.name for each in report_templates(configured(tmp_path))]
    assert names == [each.name for each in shipped_templates()] + ["of_our_central_bank"]
    assert report_templates(configured(None)) == shipped_templates()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"name", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"#" * 70_000, "cannot be read"),
        (own(SAMPLE.name).encode(), "two templates"),
    ],
)
def test_a_template_that_cannot_be_used_stops_the_engine(
    tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / "a.toml").write_bytes(content)
    with pytest.raises(Misconfigured, match=why):
        report_templates(configured(tmp_path))


def test_a_directory_that_is_not_there_stops_the_engine(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="template_dir"):
        report_templates(configured(tmp_path / "nowhere"))
