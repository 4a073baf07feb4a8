"""The command line as a whole: its commands, and the one form in which every error is told.

Commands return their exit code; nothing that is ours is raised out of `run`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn, cast

import typer

from caxton_nats.cli import exits
from caxton_nats.cli.agents import agents
from caxton_nats.cli.breakers import breakers
from caxton_nats.cli.config import config
from caxton_nats.cli.conversations import conversations
from caxton_nats.cli.dead_letters import dead_letters
from caxton_nats.cli.exits import MEANINGS, Exit
from caxton_nats.cli.health import health
from caxton_nats.cli.mailbox import messages
from caxton_nats.cli.messages import request, send
from caxton_nats.cli.options import common
from caxton_nats.cli.output import report, visible
from caxton_nats.cli.protocols import protocols
from caxton_nats.cli.receipts import receipts
from caxton_nats.cli.routes import routes
from caxton_nats.cli.statistics import stats
from caxton_nats.cli.topology import topology
from caxton_nats.cli.up import router, up
from caxton_nats.core.errors import CaxtonError

_CODES = "\n".join(f"{int(code):4}  {meaning}" for code, meaning in MEANINGS.items())
cli = typer.Typer(
    name="caxton",
    help="A durable message bus for FIPA agents, carried by NATS JetStream.",
    epilog=f"Example: caxton up\n\nExit codes:\n{_CODES}",
    no_args_is_help=True,
)
cli.callback()(common)
cli.command(epilog="Example: caxton up --port 4222 --durability process")(up)
cli.command(epilog="Example: caxton router --nats-url nats://127.0.0.1:4222")(router)
cli.add_typer(agents, name="agents")
cli.command(epilog="Example: caxton send alice inform bob carol --content '{\"price\": 3}'")(send)
cli.command(epilog="Example: caxton request alice bob --text hello --timeout 5")(request)
cli.command(epilog="Example: caxton receipts alice m-1 --until handled")(receipts)
cli.add_typer(conversations, name="conversations")
cli.add_typer(protocols, name="protocols")
cli.add_typer(messages, name="messages")
cli.add_typer(dead_letters, name="dlq")
cli.add_typer(breakers, name="breakers")
cli.add_typer(routes, name="routes")
cli.add_typer(topology, name="topology")
cli.command(epilog="Example: caxton stats --json")(stats)
cli.command(epilog="Example: caxton health --json")(health)
cli.add_typer(config, name="config")

# The base of what typer raises for a wrong command line; typer itself does not export it.
_CommandLineError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])


class UsageError(CaxtonError):
    """The command line is wrong."""


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing of ours is raised."""
    as_json = "--json" in arguments
    command = typer.main.get_command(cli)
    try:
        code = command.main(list(arguments), prog_name="caxton", standalone_mode=False)
    except CaxtonError as error:
        report(error, as_json=as_json)
        return exits.of_error(error)
    except _CommandLineError as error:
        return _explain(error, as_json=as_json)
    except (KeyboardInterrupt, asyncio.CancelledError, typer.Abort):
        return Exit.INTERRUPTED
    return int(code or 0)


def main() -> NoReturn:
    """Run the command line of this process, and end it with the exit code."""
    _prepare_output()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; the interpreter's own flush must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = Exit.FAILED
    sys.exit(code)


class _Lines(logging.Formatter):
    """Log lines for a terminal: what strangers wrote cannot steer it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, escaped."""
        return visible(f"{record.levelname.lower()}: {super().format(record)}", keep="\n")


def _prepare_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A terminal that cannot show a character is no reason to fail.
            stream.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines())
    # With --json, stderr holds one document, too.
    level = logging.CRITICAL if "--json" in sys.argv else logging.WARNING
    logging.basicConfig(handlers=[handler], level=level)


def _explain(error: typer.BadParameter, *, as_json: bool) -> int:
    if type(error).__name__ == "NoArgsIsHelpError":
        # No arguments at all: the help has been printed.
        return Exit.USAGE
    context = error.ctx
    path = context.command_path if context is not None else "caxton"
    # Our own words stand alone; typer's are completed with the parameter that they are about.
    about = getattr(error, "param", None)
    reason = error.message if error.message and about is None else error.format_message()
    report(UsageError(reason, hint=f"see `{path} --help`"), as_json=as_json)
    return Exit.USAGE
