"""How long and how much, as people write it: `30d`, `2GB`."""

import re
from datetime import timedelta
from typing import Final

FOREVER: Final = "forever"

_TIMES: Final = {
    "y": timedelta(days=365),
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
}
_LONGEST: Final = timedelta(days=36_500)
_SIZES: Final = {
    "TB": 10**12,
    "TiB": 2**40,
    "GB": 10**9,
    "GiB": 2**30,
    "MB": 10**6,
    "MiB": 2**20,
}


def parse_time(text: str) -> timedelta | None:
    """`12h`, `30d`, `8w`, `2y` (of 365 days); None for `forever`. Raises `ValueError`."""
    if text.lower() == FOREVER:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([hdwy])", text)
    time = int(found[1]) * _TIMES[found[2]] if found else None
    if time is None or time > _LONGEST:
        raise ValueError(
            "write a number and h, d, w or y, such as 12h, 30d or 2y, up to 100y; or forever"
        )
    return time


def parse_size(text: str) -> int:
    """Bytes: `500MB`, `2GB`, `1.5TB`, also MiB, GiB and TiB. Raises `ValueError`."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?([MGT]i?B)", text)
    if found is None:
        raise ValueError("write a number and MB, GB or TB (or MiB, GiB, TiB), such as 500MB or 2GB")
    return int(float(found[1]) * _SIZES[found[2]])


def told_time(time: timedelta | None) -> str:
    """The shortest text for what `parse_time` has read."""
    if time is None:
        return FOREVER
    unit = next((name for name, unit in _TIMES.items() if not time % unit), "h")
    return f"{time // _TIMES[unit]}{unit}"


def told_size(size: int) -> str:
    """A short text for what `parse_size` has read, exact to a thousandth."""
    whole = next((name for name, unit in _SIZES.items() if not size % unit), None)
    if whole is not None:
        return f"{size // _SIZES[whole]}{whole}"
    unit = next((name for name, unit in _SIZES.items() if size >= unit), "MB")
    return f"{size / _SIZES[unit]:.3f}".rstrip("0").rstrip(".") + unit
