"""``evidence``: everything about one settlement in one file, and the check of such a file.

Promises: the same evidence makes the same bytes of a file; checking one needs no engine and no database;
a file that could be anything else than what was exported is refused before it is read into.
"""
