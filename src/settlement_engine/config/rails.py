"""The section ``[rails]``: what is the same for all rails."""

from __future__ import annotations

from settlement_engine.config.values import OptionalPath, Section


class RailsConfig(Section):
    """What is the same for all rails."""

    xsd_dir: OptionalPath = None
