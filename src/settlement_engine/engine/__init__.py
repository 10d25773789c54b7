"""The engine: it interprets the state machine. Intake, mailbox, executor, takeover, presence."""
