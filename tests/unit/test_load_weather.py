"""Made-up weather: plausible, smooth and repeatable."""

from datetime import UTC, datetime, timedelta

from sensorflow.cli.weather import DAY, HIGHEST_PRESSURE, LOWEST_PRESSURE, made_up_sensors

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def values(seed: int | None, number: int = 3, steps: int = 50) -> list[dict[str, str | float]]:
    return [
        sensor.reading(step, NOW + timedelta(seconds=step))
        for sensor in made_up_sensors(number, seed)
        for step in range(steps)
    ]


def test_a_seed_makes_the_values_repeatable_whatever_the_number_of_sensors() -> None:
    assert values(7) == values(7)
    assert values(7, number=5)[: len(values(7))] == values(7)
    assert values(7) != values(8)
    assert values(None) != values(None)


def test_names_are_ascending_numbers_of_one_width() -> None:
    assert [sensor.name for sensor in made_up_sensors(2, None)] == ["sim-01", "sim-02"]
    assert made_up_sensors(120, None)[6].name == "sim-007"


def test_readings_are_plausible_and_smooth_for_days() -> None:
    for sensor in made_up_sensors(5, 1):
        before: dict[str, float] | None = None
        temperatures = []
        for step in range(int(5 * DAY)):
            reading = sensor.reading(step, NOW + timedelta(seconds=step))
            now = {k: v for k, v in reading.items() if isinstance(v, float)}
            assert -10 < now["temperature"] < 45
            assert 0 <= now["humidity"] <= 100
            assert LOWEST_PRESSURE <= now["pressure"] <= HIGHEST_PRESSURE
            if before:
                assert abs(now["temperature"] - before["temperature"]) < 0.5
                assert abs(now["humidity"] - before["humidity"]) < 2
                assert abs(now["pressure"] - before["pressure"]) < 0.5
            before = now
            temperatures.append(now["temperature"])
        assert max(temperatures) - min(temperatures) > 3


def test_recorded_at_ascends_even_when_the_clock_does_not() -> None:
    (sensor,) = made_up_sensors(1, 1)
    clock = [NOW, NOW, NOW - timedelta(hours=1), NOW + timedelta(seconds=1)]
    times = [str(sensor.reading(0, now)["recorded_at"]) for now in clock]
    moments = [datetime.fromisoformat(time) for time in times]
    assert moments == sorted(set(moments))
    assert moments[-1] == NOW + timedelta(seconds=1)
