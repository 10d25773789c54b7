"""``demo``: demonstrates the guarantees on this machine, including a crash, in half a minute.

Promises: its checks compare the bank's ledger with our books at the end; a failed check exits with 5. It
uses only the public API, as any caller does.
"""
