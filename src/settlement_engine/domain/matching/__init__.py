"""Matching: which of the bank's entries are which of our bookings, and what is wrong with the rest.

Promises: automatic only when unique; integers only; each match keeps its pass, the rules' version and its
reason; the same input gives the same result, and each item costs the same however many there are.
"""
