"""Influx's line protocol: the point that a line of a text says."""

import math
import re
from typing import Final, NamedTuple

from sensorflow.errors import Reason, Refusal

MAX_LINE: Final = 65_536
"""Characters of one line, so that no single one stalls the loop."""

# A backslash escapes only what stands in these sets; before anything else it is itself.
_MEASUREMENT: Final = re.compile(r"(?:[^\\, \n]++|\\[, ]?+)++")
_WORD: Final = r"(?:[^\\,= \n]++|\\[,= ]?+)++"
_TAG: Final = re.compile(rf",({_WORD})=({_WORD})")
# Only a string may hold line breaks.
_FIELD: Final = re.compile(rf'({_WORD})=(?:"(?:[^"\\]++|\\.)*+"|([^\\,= "\r\n]++))', re.DOTALL)
_SPACES: Final = re.compile(" ++")
_END: Final = re.compile(r"(?: ++(-?[0-9]++))?+[ \t\r]*+(?:\n|\Z)")

_ESCAPED_IN_MEASUREMENT: Final = re.compile(r"\\([, ])")
_ESCAPED: Final = re.compile(r"\\([,= ])")

# What was matched is not tried in another way: that would take seconds for thousands of digits.
_FLOAT: Final = re.compile(r"[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+")
_INTEGER: Final = re.compile(r"-?+[0-9]++i|[0-9]++u")
_BOOLEANS: Final = frozenset(
    ("t", "T", "true", "True", "TRUE", "f", "F", "false", "False", "FALSE")
)

_SHOWN: Final = 20


class Point(NamedTuple):
    """What a line says."""

    measurement: str
    tags: dict[str, str]
    fields: dict[str, float | None]
    """None in the place of strings and booleans, which are no measurement."""
    time: int | None


def point_at(text: str, start: int) -> tuple[Point, int]:
    """The point whose line starts there, and where the next line starts.

    Raises a `Refusal` for what is not line protocol.
    """
    limit = start + MAX_LINE
    try:
        return _point(text, start, limit)
    except Refusal:
        if limit < len(text) and text.find("\n", start, limit) < 0:
            raise _too_long() from None
        raise


def next_line(text: str, position: int) -> int:
    """Where the line after the one at `position` starts."""
    end = text.find("\n", position)
    return len(text) if end < 0 else end + 1


def _point(text: str, start: int, limit: int) -> tuple[Point, int]:
    named = _MEASUREMENT.match(text, start, limit)
    if named is None:
        raise Refusal(Reason.NOT_LINE_PROTOCOL, "The line does not begin with a measurement.")
    at = named.end()
    tags: dict[str, str] = {}
    while tag := _TAG.match(text, at, limit):
        tags[_word(tag[1])] = _word(tag[2])
        at = tag.end()
    spaces = _SPACES.match(text, at, limit)
    if spaces is None:
        raise Refusal(
            Reason.NOT_LINE_PROTOCOL,
            "Tags are written as key=value after commas, and fields follow after a space; "
            f"got {_shown(text, at)}.",
        )
    at = spaces.end()
    fields: dict[str, float | None] = {}
    while True:
        field = _FIELD.match(text, at, limit)
        if field is None:
            raise Refusal(
                Reason.NOT_LINE_PROTOCOL,
                f"Fields are written as key=value with commas between; got {_shown(text, at)}.",
            )
        fields[_word(field[1])] = None if field[2] is None else _value(field[2])
        at = field.end()
        if not text.startswith(",", at):
            break
        at += 1
    end = _END.match(text, at, limit)
    if end is None:
        raise Refusal(
            Reason.NOT_LINE_PROTOCOL,
            "After the fields comes nothing, or a space and a timestamp, which is a whole number; "
            f"got {_shown(text, at)}.",
        )
    if end.end() == limit < len(text) and text[limit - 1] != "\n":
        raise _too_long()
    measurement = _ESCAPED_IN_MEASUREMENT.sub(r"\1", named[0])
    time = None if end[1] is None else int(end[1][:_LONGEST_TIME])
    return Point(measurement, tags, fields, time), end.end()


_LONGEST_TIME: Final = 30  # digits; the more there are, the longer Python takes to read them


def _word(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def _value(text: str) -> float | None:
    if _FLOAT.fullmatch(text):
        number = float(text)
    elif _INTEGER.fullmatch(text):
        number = float(text[:-1])
    elif text in _BOOLEANS:
        return None
    else:
        raise Refusal(
            Reason.NOT_LINE_PROTOCOL,
            f"{_shown(text, 0)} is no number, string or boolean of line protocol.",
        )
    if math.isinf(number):
        raise Refusal(Reason.OUT_OF_RANGE, f"{_shown(text, 0)} is beyond a double's range.")
    return number


def _shown(text: str, at: int) -> str:
    """What stands there, short and printable."""
    part = text[at : at + _SHOWN]
    return ascii(part) if part else "nothing"


def _too_long() -> Refusal:
    return Refusal(Reason.BODY_TOO_LARGE, f"The line is longer than {MAX_LINE:,} characters.")
