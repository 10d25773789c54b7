"""Modules that tests of several directories share."""
