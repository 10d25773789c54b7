"""The commands that the lab adds to ``settlement-engine``: ``bench``, ``demo`` and ``simulate``.

They are entry points of the group ``settlement_engine.commands`` (see the lab's ``pyproject.toml``).
"""
