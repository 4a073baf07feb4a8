"""wire: FIPA's content, which is text or bytes, and ours, which is JSON.

A JSON string is FIPA's text, if it can be written again byte for byte. Every other value is its own
JSON text, said to be such by ``language`` ``json`` or by a mark. Bytes are base64.
"""

from __future__ import annotations

import re

import msgspec

from caxton_nats.core.envelope import BASE64, SAFE_NESTING, Envelope, check_nesting, value_content
from caxton_nats.core.errors import InvalidEnvelope, MalformedEnvelope

JSON = "json"
"""The language, and the mark, of JSON text."""
# What XML cannot say: such text keeps JSON's escapes, in each encoding.
_UNSAYABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def said(envelope: Envelope) -> tuple[str | None, bool]:
    """Return the content as text, if there is any, and whether it must be marked as JSON text."""
    raw = bytes(envelope.content)
    if not raw:
        return None, False
    if _is_json(envelope.language, envelope.encoding):
        return raw.decode("utf-8"), False
    text = _plain(raw)
    return (raw.decode("utf-8"), True) if text is None else (text, False)


def meant(
    content: str | bytes, encoding: str, language: str, *, marked: bool
) -> tuple[msgspec.Raw, str]:
    """Return content and encoding of an envelope; bytes without encoding stay bytes."""
    if isinstance(content, bytes):
        if not encoding:
            return value_content(content)
        try:
            content = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedEnvelope(
                f"not UTF-8 at its byte {error.start}", field="content"
            ) from None
    if marked or _is_json(language, encoding):
        return _json(content), encoding
    return value_content(content)[0], encoding


def _is_json(language: str, encoding: str) -> bool:
    return language.lower() == JSON and encoding.lower() != BASE64


def _plain(raw: bytes) -> str | None:
    """Return the text of a JSON string, if it can be made from it again byte for byte."""
    if not raw.startswith(b'"'):
        return None
    try:
        text: str = msgspec.json.decode(raw, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return None if _UNSAYABLE.search(text) or msgspec.json.encode(text) != raw else text


def _json(text: str) -> msgspec.Raw:
    data = text.strip(" \t\r\n").encode()
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except msgspec.DecodeError as error:
        raise InvalidEnvelope(
            f"is said to be JSON and is not: {error}",
            field="content",
            hint="language json, or X-Caxton-Content, says that the content is JSON text",
        ) from None
    except RecursionError:
        raise MalformedEnvelope(
            "JSON nested too deeply", field="content", limit=SAFE_NESTING, hint="flatten it"
        ) from None
    check_nesting(data)
    return msgspec.Raw(data)
