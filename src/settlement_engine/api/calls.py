"""Everything that is served, put together once for both gRPC and HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from settlement_engine.api.accounts import AccountCalls
from settlement_engine.api.call import Drain, Undisturbed
from settlement_engine.api.service import SettlementCalls
from settlement_engine.api.streams import EventStreams, ManySettlements

if TYPE_CHECKING:
    from settlement_engine.api.settings import ApiSettings
    from settlement_engine.ports import AccountStore, Engine, SettlementStore, Stream


class Calls:
    """The calls, over the ports that serve them."""

    def __init__(
        self,
        *,
        engine: Engine,
        settlements: SettlementStore,
        accounts: AccountStore,
        stream: Stream,
        settings: ApiSettings,
    ) -> None:
        self.drain = Drain()
        self.undisturbed = Undisturbed()
        self.settlement = SettlementCalls(engine, settlements, settings)
        self.account = AccountCalls(accounts, self.undisturbed)
        self.events = EventStreams(engine, stream, settings, self.drain)
        self.many = ManySettlements(self.settlement, settings, self.drain)
