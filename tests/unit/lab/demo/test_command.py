"""``demo`` ends with 5 and keeps its data when a promise is broken."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from settlement_engine.cli.failures import ExitCode
from settlement_lab.commands.demo import command as module

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run


@pytest.fixture(autouse=True)
def _no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("settlement_engine.app.development.world.DevSetup", nullcontext)


def test_a_broken_promise_ends_with_five_and_keeps_the_data(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_show", lambda *_: False)
    said = command("demo", "--data-dir", str(tmp_path / "here"))
    assert said.code == ExitCode.UNBALANCED
    kept = list((tmp_path / "here").iterdir())
    assert len(kept) == 1
    assert str(kept[0]) in said.out


@pytest.mark.parametrize(("words", "left"), [((), 0), (("--keep",), 1)])
def test_kept_promises_end_with_zero_and_leave_nothing_unless_asked(
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    left: int,
) -> None:
    monkeypatch.setattr(module, "_show", lambda *_: True)
    said = command("demo", "--data-dir", str(tmp_path / "here"), *words)
    assert said.code == ExitCode.OK
    assert len(list((tmp_path / "here").iterdir())) == left


def test_quick_sends_a_few_hundred(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def show(_world: object, _config: object, counts: tuple[int, int], _seed: int) -> bool:
        seen.append(counts)
        return True

    monkeypatch.setattr(module, "_show", show)
    command("demo", "--quick")
    assert seen == [(module.QUICK_SETTLEMENTS, module.QUICK_RAIL_SETTLEMENTS)]


def test_the_demo_never_uses_servers_of_others(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETTLEMENT_DATABASE__URL", "postgresql://bank@production/x")
    seen: list[str] = []

    def show(_world: object, config: object, _count: int, _seed: int) -> bool:
        seen.append(config.database.url.get_secret_value())  # type: ignore[attr-defined]
        return True

    monkeypatch.setattr(module, "_show", show)
    assert command("demo").code == ExitCode.OK
    assert seen == [""]
