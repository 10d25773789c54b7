"""``bench``: an installation of its own, measured under load.

Promises: everything it starts ends with it and its data is removed; it never touches an installation
that it did not start.
"""
