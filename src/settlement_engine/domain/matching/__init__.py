"""Matching: which of the bank's entries belong to which of our bookings, and what is wrong with the rest.

Promises: a match is automatic only when it is unique; each match keeps its pass, the rules' version and its
reason; the same input gives the same result; the cost per item does not grow with the number of items. Must
never: use anything but integers for amounts.
"""
