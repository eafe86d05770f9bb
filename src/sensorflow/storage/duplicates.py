"""Duplicate, conflict or new: the rule, the same for every database."""

from collections.abc import Sequence

from sensorflow.readings import Conflict, Duplicate, Reading


def compare(new: Reading, earlier: Sequence[Reading]) -> Duplicate | Conflict | None:
    """Judge `new` against what one sensor said of the same device time, oldest first.

    A shared name with another value is a conflict, and the first value stays. If every name of
    `new` is there with the same value, it is a duplicate. Otherwise (None) it says something
    that was not known and is to be stored as a row of its own.
    """
    first: dict[str, Reading] = {}
    for reading in earlier:
        for name in reading.measurements:
            first.setdefault(name, reading)
    names = new.measurements.keys()
    for name, value in new.measurements.items():
        if name in first and first[name].measurements[name] != value:
            return Conflict(first[name], name)
    if not names <= first.keys():
        return None
    whole = [reading for reading in earlier if names <= reading.measurements.keys()]
    return Duplicate(whole[0] if whole else first[next(iter(names))])
