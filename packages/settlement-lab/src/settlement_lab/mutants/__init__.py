"""The engine's safeguards, taken out one by one: the worlds must notice each that is missing."""
