"""The table of `sensorflow watch`."""

from io import StringIO

from rich.console import Console

from sensorflow.cli.board import MAX_SENSORS, Board
from tests.helpers import NOON


class Stage:
    """A board on a terminal of our own, at a time of our own."""

    def __init__(self, height: int = 24) -> None:
        self._console = Console(file=StringIO(), width=100, height=height, highlight=False)
        self.now = NOON.timestamp()
        self.board = Board(self._console, lambda: self.now, lambda: self.now)

    def take(self, sensor_id: str = "kitchen", pk: int | None = 1, **more: object) -> None:
        moment = f"2026-01-31T12:00:{self.now - NOON.timestamp():09.6f}Z"
        frame: dict[str, object] = {
            "id": pk,
            "sensor_id": sensor_id,
            "temperature": 21.5,
            "humidity": 50.0,
            "pressure": 1013.25,
            "recorded_at": moment,
            "received_at": moment,
            "date_recorded": "2026-01-31",
            "time_recorded": "12:00:00",
            "client_ip": "192.0.2.7",
        }
        self.board.take(frame | more)

    def lines(self) -> list[str]:
        with self._console.capture() as capture:
            self._console.print(self.board.picture())
        return [line.rstrip() for line in capture.get().splitlines()]


def test_a_sensor_has_one_row_with_its_latest_measurements() -> None:
    stage = Stage()
    stage.board.change(None)
    for n in range(5):
        stage.now = NOON.timestamp() + n * 0.5
        stage.take(pk=n + 1, temperature=20 + n, co2=417, lux=0.25)
    stage.now += 90
    headings, row, status = stage.lines()
    assert headings.split() == ["Sensor", "°C", "%", "hPa", "Further", "Age", "Rate"]
    assert " ".join(row.split()) == ("kitchen 24.00 50.00 1013.25 co2 417 · lux 0.25 1 min 2.0/s")
    assert status == "Live · 0.0 readings/s · 1 sensor · last id 5"


def test_rows_keep_their_places() -> None:
    stage = Stage()
    for name in ("b", "c", "a", "b"):
        stage.take(name)
    assert [line.split()[0] for line in stage.lines()[1:-1]] == ["a", "b", "c"]


def test_a_slow_sensor_is_counted_by_the_minute() -> None:
    stage = Stage()
    for seconds in (0, 20, 40):
        stage.now = NOON.timestamp() + seconds
        stage.take()
    assert stage.lines()[1].endswith("3.0/min")


def test_what_comes_again_with_its_id_is_not_counted_in_the_rhythm() -> None:
    stage = Stage()
    for seconds in (0, 10):
        stage.now = NOON.timestamp() + seconds
        stage.take(pk=None, status="spooled")
    received = "2026-01-31T12:00:00Z"
    stage.take(pk=7, received_at=received, recorded_at=received)
    assert stage.lines()[1].endswith("6.0/min")
    assert stage.lines()[-1].endswith("last id 7")


def test_the_rate_is_that_of_the_last_seconds() -> None:
    stage = Stage()
    stage.lines()
    for _ in range(30):
        stage.take()
    stage.now += 2
    assert "15.0 readings/s" in stage.lines()[-1]


def test_as_many_rows_as_there_is_room_for() -> None:
    stage = Stage(height=10)
    for n in range(9):
        stage.take(f"s{n}")
    lines = stage.lines()
    assert len(lines) <= 10
    assert [line.split()[0] for line in lines[1:-2]] == ["s0", "s1", "s2", "s3", "s4", "s5"]
    assert lines[-2] == "3 more; choose some with --sensor"


def test_who_was_not_heard_for_longest_goes() -> None:
    stage = Stage(height=MAX_SENSORS + 10)
    for n in range(MAX_SENSORS):
        stage.take(f"s{n:03}")
    stage.take("s000")
    stage.take("new")
    names = [line.split()[0] for line in stage.lines()[1:-1]]
    assert len(names) == MAX_SENSORS
    assert "s001" not in names
    assert {"s000", "new"} <= set(names)


def test_a_loss_is_told_and_so_is_the_return() -> None:
    stage = Stage()
    assert stage.lines()[-1].startswith("Connecting ·")
    stage.board.change("refused [red]")
    assert stage.lines()[-1].startswith("Reconnecting: refused [red] ·")
    stage.board.change(None)
    assert stage.lines()[-1].startswith("Live ·")


def test_names_and_values_are_only_text_and_a_gap_is_no_reading() -> None:
    stage = Stage()
    stage.board.take({"gap": {"after": 5, "oldest": 9}})
    stage.take("[bold]x[/bold]", temperature=1e300, humidity=-1)
    assert stage.lines()[1].split()[:3] == ["[bold]x[/bold]", "1e+300", "-1.00"]
