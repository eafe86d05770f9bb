"""The data of a COPY: made for many rows at once it is what it is row by row."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sensorflow.readings import KNOWN_MEASUREMENTS, Clock, Reading
from sensorflow.storage.postgres.copying import rows_alike, rows_one_by_one

RECEIVED = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
VALUES = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.integers(0, 10**16).map(lambda n: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(0, 0, n))
KNOWN = st.fixed_dictionaries(dict.fromkeys(KNOWN_MEASUREMENTS, VALUES))
ANY = st.dictionaries(st.sampled_from((*KNOWN_MEASUREMENTS, "flow")), VALUES, min_size=1)
ADDRESSES = ("192.0.2.7", "2001:db8::1", None)


def reading(
    measurements: dict[str, float],
    recorded_at: datetime,
    clock: Clock = Clock.DEVICE,
    client_ip: str | None = ADDRESSES[0],
    received_at: datetime = RECEIVED,
) -> Reading:
    return Reading("cellar", measurements, recorded_at, clock, received_at, client_ip)


@given(st.lists(st.builds(reading, KNOWN, TIMES), min_size=1), st.integers(1, 2**62), st.data())
def test_rows_that_are_alike_are_what_they_are_one_by_one(
    readings: list[Reading], first: int, data: st.DataObject
) -> None:
    numbers = st.integers(1, 2**62)
    sensors = data.draw(st.lists(numbers, min_size=len(readings), max_size=len(readings)))
    assert rows_alike(readings, sensors, first) == rows_one_by_one(readings, sensors, first)


@given(
    st.lists(
        st.builds(
            reading,
            KNOWN | ANY,
            TIMES,
            st.sampled_from(Clock),
            st.sampled_from(ADDRESSES),
            st.sampled_from((RECEIVED, RECEIVED + timedelta(seconds=1))),
        ),
        min_size=1,
    )
)
def test_rows_that_differ_are_never_taken_for_alike(readings: list[Reading]) -> None:
    sensors = list(range(len(readings)))
    made = rows_alike(readings, sensors, 1)
    assert made is None or made == rows_one_by_one(readings, sensors, 1)
