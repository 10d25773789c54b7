"""Since when NATS answers and stores nothing: what counts as that, and what does not."""

from __future__ import annotations

import pytest
from nats.errors import ConnectionClosedError, NoRespondersError
from nats.js.errors import ServiceUnavailableError

from settlement_engine.errors import Unavailable
from settlement_engine.events.publisher import NotStored
from settlement_engine.events.refusal import NatsRefusal


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (NotStored("not taken", why="no space left on device"), "(no space left on device)"),
        (ServiceUnavailableError(code=503, description="JetStream is off"), "JetStream is off"),
        (NoRespondersError(), "NoRespondersError"),
    ],
)
async def test_a_server_that_answers_and_does_not_store_is_told(trouble, words):
    refusal = NatsRefusal()
    assert (refusal.seconds, refusal.text) == (0.0, "")
    refusal.note(trouble)
    began = refusal._since
    assert words in refusal.text
    assert "restart NATS" in refusal.text
    refusal.note(trouble)
    assert refusal._since == began, "it counts from the first one"
    refusal.end()
    assert (refusal.seconds, refusal.text) == (0.0, "")


@pytest.mark.parametrize(
    "trouble", [ConnectionClosedError(), OSError("refused"), Unavailable("PostgreSQL is away")]
)
async def test_a_server_that_cannot_be_reached_is_something_else(trouble):
    refusal = NatsRefusal()
    refusal.note(NotStored("not taken", why="full"))
    refusal.note(trouble)
    assert (refusal.seconds, refusal.text) == (0.0, "")
