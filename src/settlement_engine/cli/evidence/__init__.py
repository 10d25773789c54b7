"""``evidence``: exports all records of one settlement to a file, and verifies such a file.

Promises: the same evidence gives the same bytes; verifying needs no engine and no database; a file that was
not written by an export is refused before its content is read.
"""
