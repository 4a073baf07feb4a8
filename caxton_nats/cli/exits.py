"""What the exit codes mean; the help page and docs/cli.md say the same."""

from __future__ import annotations

from enum import IntEnum

from caxton_nats.core.errors import (
    AgentNotResponding,
    CaxtonError,
    ConfigurationError,
    TransportError,
)
from caxton_nats.core.performatives import Performative


class Exit(IntEnum):
    """One number per way a command may end."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFIGURATION = 3
    TRANSPORT = 4
    PARTIAL = 5
    DIFFERS = 6
    DEGRADED = 7
    UNHEALTHY = 8
    REFUSED = 10
    FAILURE = 11
    NOT_UNDERSTOOD = 12
    NO_ANSWER = 13
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.OK: "done",
    Exit.FAILED: "failed or refused: wrong message, unknown agent or id, full mailbox",
    Exit.USAGE: "wrong command line",
    Exit.CONFIGURATION: "wrong setting, or a server that cannot be used as it is",
    Exit.TRANSPORT: "no connection to NATS, or no answer from it",
    Exit.PARTIAL: "done for some only: the others are listed",
    Exit.DIFFERS: "`topology check`: the server is not as the files say",
    Exit.DEGRADED: "`health`: it works, and somebody should look",
    Exit.UNHEALTHY: "`health`: it does not work",
    Exit.REFUSED: "`request`: the answer was refuse",
    Exit.FAILURE: "`request`: the answer was failure",
    Exit.NOT_UNDERSTOOD: "`request`: the answer was not-understood",
    Exit.NO_ANSWER: "`request`: no answer in time",
    Exit.INTERRUPTED: "interrupted (Ctrl-C)",
}

_ANSWERS: dict[str, Exit] = {
    Performative.REFUSE: Exit.REFUSED,
    Performative.FAILURE: Exit.FAILURE,
    Performative.NOT_UNDERSTOOD: Exit.NOT_UNDERSTOOD,
}


def of_error(error: CaxtonError) -> Exit:
    """Return the exit code for an error: whose fault it is decides."""
    if isinstance(error, ConfigurationError):
        return Exit.CONFIGURATION
    if isinstance(error, TransportError):
        return Exit.TRANSPORT
    if isinstance(error, AgentNotResponding):
        return Exit.NO_ANSWER
    return Exit.FAILED


def of_answer(performative: str) -> Exit:
    """Return the exit code for an answer to a request."""
    return _ANSWERS.get(performative, Exit.OK)


def of_batch(done: int, failed: int) -> Exit:
    """Return the exit code when some of several things may have failed."""
    if not failed:
        return Exit.OK
    return Exit.PARTIAL if done else Exit.FAILED
