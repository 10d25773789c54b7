"""What a rail does so that its messages are kept (``ports.MessageRail``).

Promises: what is sent is stored before it leaves. A payment's first transmission is not stored again: its bytes
are those of the attempt. Must never: change a message, or let one leave that could not be stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from settlement_engine.domain.kept_messages import (
    MESSAGE_ID_CHARACTERS_MAX,
    KeptMessage,
    MessageDirection,
)
from settlement_engine.errors import Broken, Contention, Unavailable
from settlement_engine.messages.naming import id_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from settlement_engine.messages.envelope import Opened
    from settlement_engine.ports import Clock, Question
    from settlement_engine.ports.messages import Keep
    from settlement_engine.rails.transport.results import Response

log = structlog.get_logger(__name__)


class MessageKeeper:
    """Makes the messages of one rail, and has them stored. Without ``keep`` nothing is."""

    def __init__(self, rail: str, clock: Clock) -> None:
        self._rail = rail
        self._clock = clock
        self.keep: Keep | None = None

    def sent(
        self, question: Question, content: bytes, *, type_: str, message_id: str
    ) -> KeptMessage:
        """Make the message that asks a question."""
        return KeptMessage(
            settlement_id=question.settlement_id,
            attempt=question.attempt,
            direction=MessageDirection.OUT,
            rail=self._rail,
            content=content,
            at=self._clock.now(),
            type=type_,
            message_id=message_id,
        )

    def received(
        self, question: Question, response: Response, message: Opened | None
    ) -> KeptMessage:
        """Make the message of a response; ``message`` is what it says, if it can be read."""
        return KeptMessage(
            settlement_id=question.settlement_id,
            attempt=question.attempt,
            direction=MessageDirection.IN,
            rail=self._rail,
            content=response.body,
            at=self._clock.now(),
            type="" if message is None else message.definition,
            message_id="" if message is None else id_of(message)[:MESSAGE_ID_CHARACTERS_MAX],
            response_status=response.status,
        )

    async def store(self, messages: Sequence[KeptMessage]) -> bool:
        """Store messages, and say whether they are: what is not stored must not leave."""
        if self.keep is None or not messages:
            return True
        try:
            await self.keep(messages)
        except (Unavailable, Contention, Broken) as error:
            why = error.why or error.what
            log.warning("messages_not_kept", rail=self._rail, count=len(messages), why=why)
            return False
        return True
