"""The rail ach as the sections ``[[banks.ach]]`` configure it.

Promises: a missing value is reported with its key. Must never: touch the folders; the rail does when it starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.domain.bank_codes import folded_bank
from settlement_engine.rails.ach.connections import AchConnection, AchConnections
from settlement_engine.rails.ach.party import AchParty
from settlement_engine.rails.ach.profile import read_profile, shipped_profile
from settlement_engine.rails.ach.rail import AchRail
from settlement_engine.rails.transport.folder import FolderSettings, FolderTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from settlement_engine.config import AchBank, Config
    from settlement_engine.ports import Clock, RailFileStore
    from settlement_engine.rails.ach.profile import AchProfile


def built_ach(
    config: Config,
    clock: Clock,
    files: RailFileStore | None,
    count_alarm: Callable[[str, str], None] | None,
) -> AchRail | None:
    """Build the rail; None when no bank of it is enabled. Raises Misconfigured."""
    found = [
        _connection(f"banks.ach.{number}", bank)
        for number, bank in enumerate(config.banks.ach)
        if bank.enabled
    ]
    if not found:
        return None
    assert files is not None, "a rail of files has a store for them"
    return AchRail(AchConnections(found), files, clock, count_alarm)


def _connection(key: str, bank: AchBank) -> AchConnection:
    folders = FolderSettings(
        outbox=_folder(bank, bank.outbox, "outbox"),
        inbox=_folder(bank, bank.inbox, "inbox"),
        archive=_folder(bank, bank.archive, "archive"),
    )
    return AchConnection(
        name=key,
        party=_party(bank),
        profile=_profile(bank),
        transport=FolderTransport(folders),
        close_after_seconds=bank.close_after_seconds,
        same_day_close_after_seconds=bank.same_day_close_after_seconds,
        poll_seconds=bank.poll_seconds,
        banks=frozenset(map(folded_bank, bank.banks)),
    )


def _profile(bank: AchBank) -> AchProfile:
    if bank.profile_file is not None:
        return read_profile(bank.profile_file)
    return shipped_profile(bank.profile)


def _folder(bank: AchBank, own: Path | None, name: str) -> Path:
    if own is not None:
        return own
    assert bank.folder is not None, "the configuration has checked that there are folders"
    return bank.folder / name


def _party(bank: AchBank) -> AchParty:
    return AchParty(
        destination=bank.routing_number,
        destination_name=bank.bank_name,
        origin=bank.origin,
        origin_name=bank.company_name,
        company_id=bank.company_id,
        company_name=bank.company_name,
        receiver=bank.settlement_routing_number,
        account=bank.settlement_account,
        account_kind=bank.settlement_account_kind,
        name=bank.receiver_name,
        description="SETTLEMENT",
        zone=bank.zone,
        routing_numbers={
            folded_bank(code): number for code, number in bank.routing_numbers.items()
        },
    )
