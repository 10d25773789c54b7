"""The one exception of this component, as the three lines that a person reads on the command line.

It has the same three fields as the engine's exceptions but is not one of them: an embedded server that cannot
be started is a problem of the developer's machine, and must never become an answer to a caller.
"""

from __future__ import annotations


class EmbeddedServerError(RuntimeError):
    """An embedded server cannot be created, started or stopped.

    ``what`` says what failed, ``why`` the cause, ``todo`` what to do about it.
    """

    def __init__(self, what: str, *, why: str, todo: str) -> None:
        super().__init__(f"{what}\n  why: {why}\n  do:  {todo}")
        self.what = what
        self.why = why
        self.todo = todo
