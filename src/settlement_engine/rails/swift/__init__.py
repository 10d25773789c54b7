"""The rail ``swift``: CBPR+ messages to a bank that keeps our nostro, over HTTP.

Promises: the document of an attempt is built once, and a resend has the same bytes; only the header marks it as a
possible duplicate. The rail's rules are data with a date (a profile); no network has certified them. Must never:
decide what an answer means (``rails/classification.py`` does), or report a status of another payment.
"""
