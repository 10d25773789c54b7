"""``doctor``: looks at the machine and the settings for what would get in the way.

Promises: it changes nothing but a temporary file, and each finding comes with what to do.
"""
