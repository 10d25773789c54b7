"""The rules of settlement as pure functions and values: no input or output, no clock, no random numbers."""
