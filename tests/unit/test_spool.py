"""The spool: what it took is there, in order, whatever happened to its owner."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from sensorflow.ingest.segments import Record, groups
from sensorflow.ingest.spool import Spool, SpoolFull
from sensorflow.readings import Reading
from tests.helpers import device_reading, server_reading

BIG = 10_000_000


def drain(spool: Spool) -> list[Record]:
    """Everything that waits, in order; nothing waits afterwards."""
    found: list[Record] = []
    while (segment := spool.oldest()) is not None:
        found += groups(segment)
        spool.done(segment)
    return found


def adopt(spool: Spool) -> int:
    """How many readings came with what their owners left."""
    before = spool.readings
    spool.adopt(spool.find())
    return spool.readings - before


def batch(*sensors: str) -> tuple[UUID, list[Reading]]:
    return uuid4(), [device_reading(sensor, 0.123457, co2=417.5) for sensor in sensors]


def test_nothing_is_touched_before_the_first_reading(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", BIG)
    assert adopt(spool) == 0
    assert spool.oldest() is None
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_batches_come_back_whole_and_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", BIG)
    batches = [batch("a"), batch("b", "Küche 😀"), (uuid4(), [server_reading("c")])]
    for token, readings in batches:
        spool.append(token, readings, tried=True)
    assert spool.readings == 4
    assert [(r.token, r.readings) for r in drain(spool)] == batches
    assert (spool.readings, spool.bytes) == (0, 0)
    spool.close()
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_arrives_during_draining_waits_for_its_turn(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", BIG)
    first, second = batch("a"), batch("b")
    spool.append(*first, tried=True)
    segment = spool.oldest()
    assert segment is not None
    spool.append(*second, tried=True)
    assert [r.token for r in groups(segment)] == [first[0]]
    spool.done(segment)
    assert [r.token for r in drain(spool)] == [second[0]]


def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 500)
    first = batch("a")
    spool.append(*first, tried=True)
    with pytest.raises(SpoolFull):
        spool.append(*batch(*"abcdefgh"), tried=True)
    assert [r.token for r in drain(spool)] == [first[0]]
    spool.append(*batch("a"), tried=True)


def test_the_bound_is_for_all_who_share_the_folder(tmp_path: Path) -> None:
    first, second = Spool(tmp_path / "spool", 500), Spool(tmp_path / "spool", 500)
    first.append(*batch("a", "b"), tried=True)
    with pytest.raises(SpoolFull):
        second.append(*batch("c", "d"), tried=True)
    drain(first)
    second.append(*batch("c", "d"), tried=True)


def test_many_batches_fill_many_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sensorflow.ingest.spool.SEGMENT_BYTES", 1_000)
    spool = Spool(tmp_path / "spool", BIG)
    batches = [batch(f"s{n}") for n in range(50)]
    for token, readings in batches:
        spool.append(token, readings, tried=True)
    assert len(list(tmp_path.glob("spool/*/*.segment"))) > 5
    assert [(r.token, r.readings) for r in drain(spool)] == batches


def test_neighbours_that_were_never_tried_are_drained_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sensorflow.ingest.segments.GROUP_READINGS", 3)
    spool = Spool(tmp_path / "spool", BIG)
    batches = [batch(name) for name in "abcdefg"]
    for number, (token, readings) in enumerate(batches):
        spool.append(token, readings, tried=number in (0, 5))
    found = [(r.token, [reading.sensor_id for reading in r.readings]) for r in drain(spool)]
    assert found == [
        (batches[0][0], ["a"]),
        (batches[1][0], ["b", "c", "d"]),
        (batches[4][0], ["e"]),
        (batches[5][0], ["f"]),
        (batches[6][0], ["g"]),
    ]


CHILD = """
import os, sys
from pathlib import Path
from uuid import UUID
from sensorflow.ingest.spool import Spool
from tests.helpers import device_reading
spool = Spool(Path(sys.argv[1]), 10_000_000)
for n in range(3):
    spool.append(UUID(int=n), [device_reading(f"s{n}")], tried=True)
print("ready", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_adopted_once_and_only_then(tmp_path: Path) -> None:
    root = tmp_path / "spool"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"ready\n"
        first, second = Spool(root, BIG), Spool(root, BIG)
        assert adopt(first) == 0
    finally:
        child.kill()
        child.wait(60)
        child.stdin.close()
        child.stdout.close()
    assert adopt(first) == 3
    assert adopt(first) == 0
    assert adopt(second) == 0
    assert [r.token.int for r in drain(first)] == [0, 1, 2]
    assert list(root.iterdir()) == []


def test_a_crash_while_draining_brings_the_segment_again(tmp_path: Path) -> None:
    left = Spool(tmp_path, BIG)
    tokens = [batch("a"), batch("b")]
    for token, readings in tokens:
        left.append(token, readings, tried=True)
    segment = left.oldest()
    assert segment is not None
    assert next(iter(groups(segment))).token == tokens[0][0]
    left.close()
    found = Spool(tmp_path, BIG)
    assert adopt(found) == 2
    assert [r.token for r in drain(found)] == [token for token, _ in tokens]


@pytest.mark.parametrize("fault", ["torn", "flipped", "garbage", "foreign"])
def test_a_damaged_record_is_set_aside_and_those_before_it_are_kept(
    tmp_path: Path, fault: str
) -> None:
    left = Spool(tmp_path, BIG)
    first = batch("a")
    left.append(*first, tried=True)
    whole = left.bytes
    left.append(*batch("b"), tried=True)
    left.close()
    (file,) = tmp_path.glob("*/*.segment")
    content = bytearray(file.read_bytes())
    if fault == "torn":
        del content[-7:]
    elif fault == "flipped":
        content[-7] ^= 0xFF
    elif fault == "garbage":
        content[whole : whole + 4] = b"????"
    else:
        payload = b"\x01"
        content[whole:] = struct.pack("<4sIII", b"SFR1", 1, zlib.crc32(payload), 1) + payload
    file.write_bytes(content)
    spool = Spool(tmp_path, BIG)
    adopt(spool)
    assert [r.token for r in drain(spool)] == [first[0]]
    (kept,) = tmp_path.glob("*.damaged")
    assert kept.read_bytes() == content


def test_a_failed_write_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, BIG)
    first, last = batch("a"), batch("c")
    spool.append(*first, tried=True)

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(OSError, match="No space"):
            spool.append(*batch("b"), tried=True)
    spool.append(*last, tried=True)
    assert [r.token for r in drain(spool)] == [first[0], last[0]]
