"""The rail ``swift``: CBPR+ messages to a bank that keeps our nostro, over HTTP.

Promises: an attempt's document is built once and sent again as the same bytes; only the header around it says that
it may be a duplicate. Its rules are dated data, a profile and certified by nobody. Must never: decide what an
answer means (``rails/classification.py`` does), or report what was said of another payment.
"""
