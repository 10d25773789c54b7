from __future__ import annotations

from hypothesis import settings

# A busy machine is slow now and then; only a wrong result is a failure.
settings.register_profile("domain", deadline=None)
settings.load_profile("domain")
