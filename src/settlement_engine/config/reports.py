"""The section ``reports``."""

from __future__ import annotations

from settlement_engine.config.values import OptionalPath, Section


class ReportsConfig(Section):
    """What is reported to authorities."""

    template_dir: OptionalPath = None
