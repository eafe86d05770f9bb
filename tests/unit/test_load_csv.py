"""Reading recorded readings from CSV files."""

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sensorflow.cli.recording import BadRecording, Recording, Row, UnreadableRow

HEADER = "recorded_at,sensor_id,temperature,humidity,pressure\n"
REAL_FILE = Path(__file__).parent.parent / "data" / "nyc-weather-2013.csv.gz"


def recorded(folder: Path, text: str | bytes) -> Recording:
    file = folder / "readings.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return Recording(file)


def faults(recording: Recording) -> list[tuple[int, str]]:
    return [(row.line, row.fault) for row in recording.rows() if isinstance(row, UnreadableRow)]


def readable(recording: Recording) -> list[Row]:
    return [row for row in recording.rows() if isinstance(row, Row)]


def test_a_row_is_a_reading_and_an_empty_cell_is_left_out(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path,
        "sensor_id,recorded_at,temperature,co2\nattic,2013-01-01T03:00:00-03:00, 3.9 ,\n",
    )
    moment = datetime(2013, 1, 1, 6, tzinfo=UTC)
    assert list(recording.rows()) == [Row(2, "attic", moment, {"temperature": 3.9})]


def test_gzip_is_recognised_by_content_whatever_the_name(tmp_path: Path) -> None:
    line = "2013-01-01T06:00:00Z,EWR,3.9,59.37,1012.0\n"
    plain = recorded(tmp_path, HEADER + line * 3)
    expected = list(plain.rows())
    zipped = recorded(tmp_path, gzip.compress((HEADER + line * 3).encode()))
    assert list(zipped.rows()) == expected
    assert zipped.count() == 3


def test_the_real_file_is_readable_to_the_last_row() -> None:
    recording = Recording(REAL_FILE)
    assert recording.count() == 23_386
    assert sum(isinstance(row, Row) for row in recording.rows()) == 23_386


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ("2013-01-01T06:00:00Z,,1,2,3", "sensor_id is missing"),
        (",EWR,1,2,3", "recorded_at is missing"),
        ("yesterday,EWR,1,2,3", "recorded_at is not a time: 'yesterday'"),
        ("2013-01-01T06:00:00,EWR,1,2,3", "recorded_at has no UTC offset: '2013-01-01T06:00:00'"),
        ("2013-01-01T06:00:00Z,EWR,warm,2,3", "temperature is not a finite number: 'warm'"),
        ("2013-01-01T06:00:00Z,EWR,nan,2,3", "temperature is not a finite number: 'nan'"),
        ("2013-01-01T06:00:00Z,EWR,1e999,2,3", "temperature is not a finite number: '1e999'"),
        ("2013-01-01T06:00:00Z,EWR,1_0,2,3", "temperature is not a finite number: '1_0'"),
        ("2013-01-01T06:00:00Z,EWR,1", "it has 3 cells, the header has 5"),
        ("2013-01-01T06:00:00Z,EWR,,,", "it has no measurement"),
    ],
)
def test_a_row_that_is_no_reading_is_told_with_its_line(
    tmp_path: Path, row: str, fault: str
) -> None:
    good = "2013-01-01T06:00:00Z,EWR,1,2,3\n"
    recording = recorded(tmp_path, f"{HEADER}{good}\n{row}\n{good}")
    assert faults(recording) == [(4, fault)]
    assert [row.line for row in readable(recording)] == [2, 5]


def test_bytes_that_are_not_utf8_spoil_only_their_row(tmp_path: Path) -> None:
    good = b"2013-01-01T06:00:00Z,K\xc3\xbcche,1,2,3\n"
    recording = recorded(tmp_path, HEADER.encode() + good.replace(b"\xc3\xbc", b"\xfc") + good)
    assert [line for line, _ in faults(recording)] == [2]
    assert [row.sensor_id for row in readable(recording)] == ["Küche"]


def test_a_mark_before_the_header_is_no_part_of_it(tmp_path: Path) -> None:
    recording = recorded(tmp_path, f"\ufeff{HEADER}2013-01-01T06:00:00Z,EWR,1,2,3\r\n")
    assert len(readable(recording)) == 1


def test_a_broken_gzip_is_told_where_it_breaks_off(tmp_path: Path) -> None:
    whole = REAL_FILE.read_bytes()
    recording = recorded(tmp_path, whole[: len(whole) // 2])
    read = readable(recording)
    assert 1000 < len(read) < 23_386
    ((line, fault),) = faults(recording)
    assert line >= read[-1].line
    assert fault.startswith("the file breaks off here")
    assert recording.count() >= len(read)


def test_columns_that_the_server_writes_itself_are_left_out(tmp_path: Path) -> None:
    recording = recorded(
        tmp_path,
        "id,recorded_at,sensor_id,temperature,client_ip\n7,2013-01-01T06:00:00Z,EWR,1,10.0.0.7\n",
    )
    assert [row.measurements for row in readable(recording)] == [{"temperature": 1.0}]


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("", "has no column recorded_at: its header has nothing"),
        ("recorded_at,temperature", "has no column sensor_id: its header has 'recorded_at'"),
        ("time;sensor_id;temperature", "has no column recorded_at"),
        ("recorded_at,sensor_id,id", "has no column with a measurement"),
        ("recorded_at,sensor_id,co2,co2", "has two columns of the same name"),
        ("recorded_at,sensor_id,co2,", "has a column without a printable name"),
    ],
)
def test_a_header_without_what_is_needed_is_refused_in_one_line(
    tmp_path: Path, header: str, complaint: str
) -> None:
    with pytest.raises(BadRecording) as raised:
        recorded(tmp_path, header + "\n")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_a_folder_and_a_broken_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecording, match="No such file"):
        Recording(tmp_path / "none.csv")
    with pytest.raises(BadRecording, match="is not a file"):
        Recording(tmp_path)
    with pytest.raises(BadRecording, match="cannot be read"):
        recorded(tmp_path, b"\x1f\x8b\x08 no gzip at all")
