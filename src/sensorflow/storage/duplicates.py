"""Duplicate, conflict or new: the rule, the same for every database."""

from collections.abc import Iterable

from sensorflow.readings import Conflict, Duplicate, Reading


def compare(new: Reading, earlier: Iterable[Reading]) -> Duplicate | Conflict | None:
    """Judge `new` against what one sensor said of the same device time, oldest first.

    A shared name with another value is a conflict, and the first value stays. If every name of
    `new` is there with the same value, it is a duplicate. Otherwise (None) it says something
    that was not known and is to be stored as a row of its own.
    """
    known: dict[str, tuple[float, Reading]] = {}
    for reading in earlier:
        for name, value in reading.measurements.items():
            known.setdefault(name, (value, reading))
    repeated: Reading | None = None
    unknown = False
    for name, value in new.measurements.items():
        if name not in known:
            unknown = True
            continue
        stored_value, stored = known[name]
        if stored_value != value:
            return Conflict(stored, name)
        repeated = repeated or stored
    if repeated is None or unknown:
        return None
    return Duplicate(repeated)
