"""Lanes: how questions are sent to rails, separately for each bank."""
