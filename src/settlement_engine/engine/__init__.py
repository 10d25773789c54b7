"""The engine: it interprets the page. Intake, runner, recovery, presence."""
