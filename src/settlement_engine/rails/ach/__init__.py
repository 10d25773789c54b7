"""The rail ach: credits in NACHA files, through the folders of an operator's file connector.

Promises: a payment waits in the open file of its bank until the file is closed; closing is one commit, and only
then may its bytes leave. A file is placed again with the same name and bytes, and a payment is in at most one file.
The acknowledgement of a file is no settlement. Must never: close a file with a payment that another engine has taken
over, or release anything itself.
"""

from __future__ import annotations

from typing import Final

RAIL_NAME: Final = "ach"
