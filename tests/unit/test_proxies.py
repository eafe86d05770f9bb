"""Whose address counts: the client's, but only on the word of a trusted proxy."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sensorflow.web.asgi import Scope
from sensorflow.web.proxies import Proxies

PROXY = "172.18.0.2"
TRUSTED = [ip_network("172.18.0.0/16"), ip_network("127.0.0.1"), ip_network("2001:db8:1::/48")]


def scope(peer: str | None, *forwarded: str, proto: str | None = None, kind: str = "http") -> Scope:
    headers = [(b"host", b"sensors.example.net")]
    headers += [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    if proto is not None:
        headers.append((b"x-forwarded-proto", proto.encode("latin-1")))
    return {
        "type": kind,
        "scheme": {"http": "http", "websocket": "ws"}[kind],
        "client": None if peer is None else (peer, 5000),
        "headers": headers,
    }


def client(peer: str, *forwarded: str) -> str:
    given = scope(peer, *forwarded)
    Proxies(TRUSTED).unwrap(given)
    address: str = given["client"][0]
    return address


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([], PROXY),
        (["203.0.113.9"], "203.0.113.9"),
        ([" 203.0.113.9\t"], "203.0.113.9"),
        (["203.0.113.9:50123"], "203.0.113.9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["2001:DB8:0:0::9"], "2001:db8::9"),
        (["[2001:db8::9]"], "2001:db8::9"),
        (["[2001:db8::9]:50123"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 172.18.0.7, 127.0.0.1"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9, 2001:db8:1::7"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9", "172.18.0.7"], "203.0.113.9"),
        (["172.18.0.7, 127.0.0.1"], PROXY),
        (["198.51.100.1, unknown"], PROXY),
        (["198.51.100.1, unknown, 172.18.0.7"], PROXY),
        (["198.51.100.1,"], PROXY),
        ([""], PROXY),
        (["_hidden"], PROXY),
        (["300.1.1.1"], PROXY),
        (["010.1.1.1"], PROXY),
        (["203.0.113.9:x"], PROXY),
        (["203.0.113.9:"], PROXY),
        (["[2001:db8::9"], PROXY),
        (["[2001:db8::9]x"], PROXY),
        (["fe80::1%<script>"], PROXY),
        (["fe80::1%eth0"], PROXY),
        (["203.0.113.9" + " " * 100 + "x"], PROXY),
        (["198.51.100.1, " + "9" * 1000], PROXY),
    ],
)
def test_the_client_is_the_right_most_that_is_no_proxy(lines: list[str], found: str) -> None:
    assert client(PROXY, *lines) == found


@pytest.mark.parametrize(
    "peer", ["203.0.113.9", "172.19.0.2", "2001:db8:2::1", "::ffff:203.0.113.9", "fe80::1%eth0"]
)
def test_from_anybody_else_it_is_ignored(peer: str) -> None:
    given = scope(peer, "198.51.100.1", proto="https")
    before = dict(given)
    Proxies(TRUSTED).unwrap(given)
    assert given == before


@pytest.mark.parametrize("peer", ["172.18.255.255", "127.0.0.1", "::ffff:172.18.0.2"])
def test_a_proxy_is_known_by_its_network(peer: str) -> None:
    assert client(peer, "198.51.100.1") == "198.51.100.1"


def test_a_peer_without_an_address_is_never_trusted() -> None:
    given = scope(None, "198.51.100.1", proto="https")
    Proxies([ip_network("0.0.0.0/1"), ip_network("::/1")]).unwrap(given)
    assert (given["client"], given["scheme"]) == (None, "http")


@pytest.mark.parametrize(
    ("kind", "proto", "seen"),
    [
        ("http", "https", "https"),
        ("http", "HTTPS", "https"),
        ("websocket", "https", "wss"),
        ("http", "http", "http"),
        ("websocket", "http", "ws"),
        ("http", None, "http"),
        ("http", "", "http"),
        ("http", "javascript", "http"),
        ("http", "http, https", "http"),
    ],
)
def test_the_scheme_is_what_the_proxy_was_spoken_to_with(
    kind: str, proto: str | None, seen: str
) -> None:
    request = scope(PROXY, "203.0.113.9", proto=proto, kind=kind)
    Proxies(TRUSTED).unwrap(request)
    assert request["scheme"] == seen


ADDRESSES = st.ip_addresses().map(str)
TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=255), max_size=80)


@settings(deadline=None)
@given(st.lists(st.lists(ADDRESSES | TEXT, max_size=5).map(",".join), max_size=4))
@example(["1.2.3.4,[", "]"])
def test_whatever_the_header_says_an_address_comes_of_it(lines: list[str]) -> None:
    found = client(PROXY, *lines)
    assert found == str(ip_address(found))
    assert "%" not in found


@settings(deadline=None)
@given(
    forged=st.lists(ADDRESSES | TEXT, max_size=5),
    real=st.ip_addresses().filter(lambda address: not any(address in n for n in TRUSTED)),
    proxies=st.lists(st.sampled_from(["172.18.0.9", "127.0.0.1", "2001:db8:1::9"]), max_size=3),
)
def test_nothing_that_a_client_writes_changes_its_address(
    forged: list[str], real: object, proxies: list[str]
) -> None:
    address = ip_address(str(real))
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain in network for network in TRUSTED):
        return
    assert client(PROXY, ", ".join([*forged, str(real), *proxies])) == str(plain)


def test_what_is_remembered_is_bounded() -> None:
    proxies = Proxies(TRUSTED)
    for number in range(5_000):
        text = f"10.{number >> 8 & 255}.{number & 255}.1"
        proxies.unwrap(scope(PROXY, text))
        proxies.unwrap(scope(text, "198.51.100.1"))
    assert proxies._forwarded.cache_info().currsize == 4_096
    assert proxies.trusts.cache_info().currsize == 1_024
