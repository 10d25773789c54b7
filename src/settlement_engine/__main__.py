"""``python -m settlement_engine`` is ``settlement-engine``."""

from __future__ import annotations

from settlement_engine.cli import main

if __name__ == "__main__":
    main()
