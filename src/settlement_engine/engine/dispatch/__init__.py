"""Lanes: how questions leave for rails, each bank's apart from every other's."""
