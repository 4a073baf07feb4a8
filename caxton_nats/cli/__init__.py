"""The command ``caxton``: one file per noun; each command parses, calls the platform, prints."""

from caxton_nats.cli.command_line import main, run

__all__ = ["main", "run"]
