from __future__ import annotations

from hypothesis import settings

# No deadline: a busy machine may be slow, and only a wrong result is a failure.
settings.register_profile("domain", deadline=None)
settings.load_profile("domain")
