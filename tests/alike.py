"""Readings that are alike, drawn for properties; neighbours often come in one request."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading
from tests.helpers import NOON

NINETEEN_NINETY = datetime(1990, 1, 1, tzinfo=UTC)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.integers(0, 10**16).map(lambda n: NINETEEN_NINETY + timedelta(0, 0, n))
FEW_MOMENTS = st.integers(0, 3).map(lambda n: NOON + timedelta(seconds=n))
SENDERS = (
    (NOON, "192.0.2.7"),
    (NOON + timedelta(seconds=1), "2001:db8::1"),
    (NOON + timedelta(seconds=1), None),
)


@st.composite
def alike(draw: st.DrawFn, clock: Clock | None = None) -> list[Reading]:
    """Readings of one clock and the same measurements, of few sensors and some requests."""
    clock = draw(st.sampled_from(Clock)) if clock is None else clock
    names = tuple(draw(st.sets(st.sampled_from(KNOWN_MEASUREMENTS), min_size=1)))
    times = draw(st.sampled_from((MOMENTS, FEW_MOMENTS)))
    senders = SENDERS[: draw(st.integers(1, len(SENDERS)))]

    def made(
        sensor_id: str,
        values: tuple[float, ...],
        recorded_at: datetime,
        sender: tuple[datetime, str | None],
    ) -> Reading:
        return Reading(
            sensor_id, dict(zip(names, values, strict=True)), recorded_at, clock, *sender
        )

    values = st.tuples(*[NUMBERS] * len(names))
    one = st.builds(made, st.sampled_from("abc"), values, times, st.sampled_from(senders))
    return draw(st.lists(one, min_size=1, max_size=8))
