"""NACHA files of the ACH: credits that we build, and what comes back, read by the 94 columns of a record.

Promises: a file is read only when its entry hashes, counts and totals agree with its entries; a file that does
not agree is an error with its line and columns. A return is a return under whatever code. What is built
is the same bytes for the same values, and reads back with every field.
Must never: change a text without keeping what it was, or take an amount for anything but whole cents.
"""
