"""Keys at rest, keys in use, and the bounds around them."""

import stat
from pathlib import Path

import pytest

from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import Keyring, Scope, digest
from sensorflow.keys.limits import MAX_FAILURES, SECONDS_PER_FAILURE, FailureLimit
from sensorflow.keys.sessions import LIFETIME, Sessions
from sensorflow.keys.store import keep_keys, load_keys, renew_key


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def make_and_keep(data_dir: Path) -> tuple[Keyring, dict[Scope, str]]:
    keyring, made = load_keys(data_dir, {})
    keep_keys(data_dir, made)
    return keyring, made


def test_keys_that_were_never_shown_are_not_kept(tmp_path: Path) -> None:
    _, unseen = load_keys(tmp_path, {})
    _, made = load_keys(tmp_path, {})
    assert made.keys() == unseen.keys()
    assert not set(made.values()) & set(unseen.values())


def test_a_key_is_not_renewed_where_no_server_has_kept_any(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="DATA_DIR"):
        renew_key(tmp_path, Scope.INGEST)
    assert list(tmp_path.iterdir()) == []


def test_made_keys_are_strong_distinct_and_kept_as_digests_only(tmp_path: Path) -> None:
    keyring, made = make_and_keep(tmp_path)
    assert set(made) == set(Scope)
    assert len(set(made.values())) == 3
    assert all(len(key) >= 40 for key in made.values())
    file = tmp_path / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for scope, key in made.items():
        assert key not in file.read_text()
        assert keyring.scopes(digest(key)) == {scope}


def test_kept_keys_are_not_made_again(tmp_path: Path) -> None:
    _, made = make_and_keep(tmp_path)
    keyring, again = load_keys(tmp_path, {})
    assert again == {}
    assert keyring.scopes(digest(made[Scope.READ])) == {Scope.READ}


def test_a_given_key_wins_and_is_written_nowhere(tmp_path: Path) -> None:
    _, made = make_and_keep(tmp_path)
    keyring, _ = load_keys(tmp_path, {Scope.READ: "given-key"})
    assert keyring.scopes(digest("given-key")) == {Scope.READ}
    assert keyring.scopes(digest(made[Scope.READ])) == set()
    assert digest("given-key").hex() not in (tmp_path / "keys.json").read_text()


def test_one_key_may_serve_two_scopes() -> None:
    same = digest("same")
    keyring = Keyring({Scope.INGEST: same, Scope.READ: same, Scope.ADMIN: digest("other")})
    assert keyring.scopes(same) == {Scope.INGEST, Scope.READ}
    assert keyring.scopes(digest("wrong")) == set()


def test_a_renewed_key_replaces_the_old_one(tmp_path: Path) -> None:
    _, made = make_and_keep(tmp_path)
    new = renew_key(tmp_path, Scope.INGEST)
    keyring, _ = load_keys(tmp_path, {})
    assert keyring.scopes(digest(new)) == {Scope.INGEST}
    assert keyring.scopes(digest(made[Scope.INGEST])) == set()
    assert keyring.scopes(digest(made[Scope.READ])) == {Scope.READ}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"read": {}}', '{"other": {"sha256": "00"}}'])
def test_a_broken_key_file_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(SettingsError, match="DATA_DIR"):
        load_keys(tmp_path, {})


def test_failures_are_limited_by_address_and_forgotten_with_time() -> None:
    clock = Clock()
    limit = FailureLimit(clock)
    for _ in range(MAX_FAILURES - 1):
        limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") == 0
    limit.failed("192.0.2.1")
    assert limit.wait("192.0.2.1") == pytest.approx(SECONDS_PER_FAILURE)
    assert limit.wait("192.0.2.2") == 0
    clock.now += SECONDS_PER_FAILURE
    assert limit.wait("192.0.2.1") == 0


def test_an_ipv6_address_counts_as_its_network() -> None:
    limit = FailureLimit(Clock())
    for number in range(MAX_FAILURES):
        limit.failed(f"2001:db8:0:1::{number:x}")
    assert limit.wait("2001:db8:0:1:ffff::1") > 0
    assert limit.wait("2001:0db8::0001:0:0:0:1") > 0
    assert limit.wait("2001:db8:0:2::1") == 0
    limit.succeeded("2001:db8:0:1::9", b"key")
    assert limit.proven("2001:db8:0:1::a", b"key")
    assert not limit.proven("2001:db8:0:2::9", b"key")


def test_an_ipv4_address_that_is_shown_as_ipv6_counts_as_itself() -> None:
    limit = FailureLimit(Clock())
    for _ in range(MAX_FAILURES):
        limit.failed("::ffff:192.0.2.1")
    assert limit.wait("192.0.2.1") > 0
    assert limit.wait("::ffff:192.0.2.2") == 0


def test_a_key_proven_from_an_address_is_remembered_for_that_address_only() -> None:
    limit = FailureLimit(Clock())
    limit.succeeded("192.0.2.1", b"key")
    assert limit.proven("192.0.2.1", b"key")
    assert not limit.proven("192.0.2.1", b"other")
    assert not limit.proven("192.0.2.2", b"key")


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    limit = FailureLimit(Clock())
    for number in range(10_050):
        limit.failed(f"a{number}")
        limit.succeeded(f"a{number}", b"key")
    assert len(limit._clears_at) == len(limit._proven) == 10_000
    assert limit.proven("a10049", b"key")


def test_a_session_is_good_until_it_expires() -> None:
    clock = Clock()
    sessions = Sessions(digest("read"), clock)
    token = sessions.issue()
    assert sessions.verify(token)
    clock.now += LIFETIME + 1
    assert not sessions.verify(token)


@pytest.mark.parametrize(
    "token", ["", ".", "9999999999.", "9999999999.00", "x.y", "é.ü", "9" * 5000]
)
def test_forged_sessions_are_refused(token: str) -> None:
    assert not Sessions(digest("read"), Clock()).verify(token)


def test_changing_the_read_key_ends_all_sessions() -> None:
    token = Sessions(digest("old"), Clock()).issue()
    assert not Sessions(digest("new"), Clock()).verify(token)
    expiry, mac = token.split(".")
    assert not Sessions(digest("old"), Clock()).verify(f"{int(expiry) + 1}.{mac}")
