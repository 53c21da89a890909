"""A notice that the slot is taken back: a file, or an answer of the node's own metadata server over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

LIMIT_S: Final = 5.0
LARGEST_B: Final = 65536
YES: Final = frozenset({"true", "now"})
NO: Final = frozenset({"", "false", "none", "null"})


def read_notice(place: str, headers: Iterable[str], now: float) -> float | None:
    """In how many seconds the slot is taken back; ``None`` if nobody says so yet.

    Understood are a time, as seconds of the epoch or in ISO's form, such a time in a JSON object, and ``true`` for now.
    Raises ``OSError`` where the place cannot be asked, and ``ValueError`` where it says something else.
    """
    text = _answer(place, headers) if place.startswith("http://") else _file(place)
    if text.strip().lower() in NO:
        return None
    return 0.0 if text.strip().lower() in YES else max(_time_in(text.strip()) - now, 0.0)


def _file(place: str) -> str:
    try:
        with Path(place).open("rb") as file:
            return file.read(LARGEST_B).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _answer(url: str, headers: Iterable[str]) -> str:
    parts = urlsplit(url)
    named = {name.strip(): value.strip() for name, _, value in (each.partition(":") for each in headers)}
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=LIMIT_S)
    try:
        connection.request("GET", f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}", headers=named)
        answer = connection.getresponse()
        text = answer.read(LARGEST_B).decode(errors="replace")
    except HTTPException as error:
        raise ValueError(f"no HTTP: {error!r}") from error
    finally:
        connection.close()
    if answer.status == 404:
        return ""
    if answer.status != 200:
        raise ValueError(f"HTTP {answer.status}")
    return text


def _time_in(text: str) -> float:
    value: object = json.loads(text) if text.startswith("{") else text
    if isinstance(value, dict):
        value = value.get("time")
    try:
        return float(str(value))
    except ValueError:
        told = datetime.fromisoformat(str(value))
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
