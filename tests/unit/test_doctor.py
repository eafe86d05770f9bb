"""What the doctor makes of states that a test cannot bring about."""

import threading
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from sensorflow.cli.doctor.database import judge
from sensorflow.cli.doctor.disk import check_room
from sensorflow.cli.doctor.findings import Finding, Level, bounded
from sensorflow.cli.doctor.machine import check_clock, check_open_files
from sensorflow.cli.doctor.network import CLAIMED, check_url, judged
from sensorflow.settings import Settings
from sensorflow.storage.standing import Schema, Standing
from sensorflow.web.proxies import Proxies

WELL = Standing(
    version=18,
    read_only=False,
    fsync=True,
    full_page_writes=True,
    may_create=True,
    owns_tables=True,
    connections=97,
    clock_ahead=0.1,
    schema=Schema.CURRENT,
)


def levels(found: list[Finding]) -> list[Level]:
    return sorted(finding.level for finding in found)


def test_a_database_that_is_as_it_should_be_passes() -> None:
    assert levels(judge(WELL, "it", 4)) == [Level.WELL] * 2


@pytest.mark.parametrize(
    ("what", "level"),
    [
        ({"version": 14}, Level.FAULT),
        ({"read_only": True}, Level.FAULT),
        ({"may_create": False}, Level.FAULT),
        ({"owns_tables": False}, Level.FAULT),
        ({"schema": Schema.AHEAD}, Level.FAULT),
        ({"schema": Schema.BEHIND}, Level.WARNING),
        ({"fsync": False}, Level.WARNING),
        ({"full_page_writes": False}, Level.WARNING),
        ({"connections": 27}, Level.WARNING),
        ({"clock_ahead": 6.0}, Level.WARNING),
        ({"clock_ahead": -6.0}, Level.WARNING),
    ],
)
def test_whatever_is_wrong_with_the_database_is_told(what: dict[str, object], level: Level) -> None:
    found = judge(replace(WELL, **what), "it", 4)  # type: ignore[arg-type]
    (bad,) = [finding for finding in found if finding.level is not Level.WELL]
    assert bad.level is level
    assert bad.advice


@pytest.mark.parametrize(
    ("synchronised", "now", "level"),
    [
        (True, 2.0e9, Level.WELL),
        (None, 2.0e9, Level.WELL),
        (False, 2.0e9, Level.WARNING),
        (True, 1.0e9, Level.WARNING),
    ],
)
def test_a_clock_that_is_wrong_or_may_become_so_is_told(
    synchronised: bool | None, now: float, level: Level
) -> None:
    assert levels(check_clock(synchronised, now, known=1.7e9)) == [level]


@pytest.mark.parametrize(
    ("free", "url", "level"),
    [
        (2**35, None, Level.WELL),
        (2**29, None, Level.WARNING),
        (2**25, None, Level.FAULT),
        (2**35, "postgresql://db/x", Level.WELL),
        (2**31, "postgresql://db/x", Level.WARNING),
        (2**25, "postgresql://db/x", Level.FAULT),
    ],
)
def test_a_disk_that_is_nearly_full_is_told(free: int, url: str | None, level: Level) -> None:
    settings = Settings(database_url=url, spool_max_mb=4096)
    assert levels(check_room(settings, free)) == [level]


def test_few_open_files_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1024))
    assert levels(check_open_files()) == [Level.WARNING]


def test_what_never_answers_is_not_waited_for() -> None:
    never = threading.Event()

    def hang() -> list[Finding]:
        never.wait()
        return []

    try:
        assert levels(bounded("it", hang, 0.05)) == [Level.FAULT]
    finally:
        never.set()


@pytest.mark.parametrize("url", ["sensors.example.net", "ftp://sensors.example.net", "http://"])
def test_what_is_no_address_is_told(url: str, tmp_path: Path) -> None:
    assert levels(check_url(url, None, ())) == [Level.FAULT]


@pytest.mark.parametrize(
    ("own", "client", "level", "said"),
    [
        ("198.51.100.7", "198.51.100.7", Level.WELL, "sees that 198.51.100.7 asks"),
        ("10.0.0.7", "198.51.100.7", Level.WELL, "sees that 198.51.100.7 asks"),
        ("198.51.100.7", CLAIMED, Level.FAULT, "any address"),
        ("127.0.0.1", CLAIMED, Level.FAULT, "any address"),
        ("198.51.100.7", "172.30.83.4", Level.WARNING, "carry 172.30.83.4"),
        # From the proxy's own network, or through it, anything is believed.
        ("172.30.83.5", CLAIMED, Level.WELL, "from other machines"),
        ("172.30.83.5", "172.30.83.4", Level.WELL, "from other machines"),
        ("127.0.0.1", "172.30.83.4", Level.WELL, "from other machines"),
    ],
)
def test_what_a_proxy_makes_of_a_claim_is_judged(
    own: str, client: str, level: Level, said: str
) -> None:
    proxies = Proxies([ip_network("172.30.83.0/24")])
    found = judged("nginx", client, own, proxies)
    assert (found.level, said in found.said) == (level, True)
    # A proxy that does not name itself is noticed by what it does wrong.
    unnamed = judged(None, client, own, proxies)
    assert unnamed.level is level
    assert level is not Level.WELL or unnamed.said == "none is to be seen"
