"""NACHA files of the US ACH: credits that we build, and files that are received, by records of 94 columns.

Promises: a file is accepted only when its entry hashes, counts and totals agree with its entries; otherwise the
error names the line and columns. A return is a return, whatever its code. The same values build the same bytes,
which read back with every field. Must never: change a text without keeping the original, or use any other unit
than whole cents.
"""
