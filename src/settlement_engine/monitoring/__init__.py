"""What is seen from outside: metrics, logs, health.

Promises: measuring never changes what is measured, and never fails the work: a metric or a log line
that cannot be written is dropped. The books are the truth, metrics are indicative. Must never: put a
secret into a log line, or a label of unbounded many values onto a metric.
"""
