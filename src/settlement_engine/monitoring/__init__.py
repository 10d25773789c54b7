"""Metrics, logs and health.

Promises: measuring never changes what is measured and never fails the work: a metric or log line that cannot
be written is dropped. The ledger is authoritative; metrics are indicative. Must never: put a secret into a log
line, or an unbounded set of label values onto a metric.
"""
