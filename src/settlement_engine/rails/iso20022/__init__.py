"""Rails that speak ISO 20022 over HTTP: SWIFT (CBPR+), SEPA, and real-time and RTGS schemes.

Promises: an attempt's document is built once and sent again as the same bytes; only the header around it says that
it may be a duplicate. What may be relied upon with a scheme is dated data, a profile and certified by nobody. Must
never: decide what an answer means (``rails/classification.py`` does), or report what was said of another payment.
"""

from __future__ import annotations

from typing import Final

SWIFT: Final = "swift"
SWIFT_COVER: Final = "swift_cover"
"""The rail of payments that go to TO itself over SWIFT, and are covered through FROM."""

RAIL_NAMES: Final = (SWIFT, "sepa_inst", "sepa_sct", "realtime")
"""The rails, in the order in which they are preferred where several carry a payment."""
