"""A settlement engine: it makes fund transfers between banks final, and never pays twice."""

__version__ = "0.1.0"
