"""``doctor``: checks the machine and the settings for problems.

Promises: it writes nothing except a temporary file, and each problem comes with what to do.
"""
