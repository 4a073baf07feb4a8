"""What a message says: its content by options, or the whole of it, from a file or stdin."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from caxton_nats.core import codec, representation
from caxton_nats.core.envelope import NO_CONTENT, Envelope, value_content

ContentOption = Annotated[
    str | None,
    typer.Option("--content", metavar="JSON", help="Content: any JSON value; - is stdin."),
]
TextOption = Annotated[
    str | None, typer.Option("--text", metavar="TEXT", help="Content: this text, as a JSON string.")
]
FileOption = Annotated[
    str | None,
    typer.Option(
        "--file", metavar="PATH", help="Content: the file's bytes, exactly (base64); - is stdin."
    ),
]
_BEGINNINGS = {b"(": "string", b"<": "xml", b"\xfa": "bitefficient"}
AclOption = Annotated[
    str | None,
    typer.Option(
        "--acl",
        metavar="PATH",
        help="The whole message, as FIPA's string, XML or bits, or as JSON; - is stdin.",
    ),
]


def read_content(
    content: str | None, text: str | None, file: str | None
) -> tuple[msgspec.Raw, str]:
    """Return (content, encoding) by the one option that was given, or raise `BadParameter`."""
    if sum(one is not None for one in (content, text, file)) > 1:
        raise typer.BadParameter("give one of --content, --text and --file")
    if content is not None:
        return _json(sys.stdin.buffer.read() if content == "-" else content.encode()), ""
    if text is not None:
        return value_content(text)
    if file is not None:
        return value_content(read_file(file, "--file"))
    return NO_CONTENT, ""


def whole(data: bytes, now: datetime) -> Envelope:
    """Return the message in the encoding that its first character shows; `MessageError` if none."""
    named = _BEGINNINGS.get(data.lstrip()[:1])
    if named is None:
        return codec.decode(data, max_bytes=len(data))
    return representation.decode(data, named, max_bytes=len(data), now=now)


def _json(data: bytes) -> msgspec.Raw:
    try:
        msgspec.json.decode(data)
        data.decode("utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise typer.BadParameter(
            f"--content is not JSON ({error}); for plain text use --text"
        ) from None
    return msgspec.Raw(data)


def read_file(path: str, option: str) -> bytes:
    """Return the bytes of the file that an option names, or raise `BadParameter`; - is stdin."""
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{option} {path} cannot be read: {error.strerror}") from None
