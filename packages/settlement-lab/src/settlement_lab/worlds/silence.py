"""Switches logs off inside a world: what happens there is in its event log."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator


def _quiet(_logger: object, _method: str, _event: object) -> Any:
    raise structlog.DropEvent


@contextmanager
def silent() -> Iterator[None]:
    """Drop all log lines for the length of the block."""
    before = structlog.get_config()
    structlog.configure(
        processors=[_quiet],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
