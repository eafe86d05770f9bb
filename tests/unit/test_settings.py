"""Settings: taken from the environment and `.env`, or refused in one line."""

from datetime import timedelta
from pathlib import Path

import pytest

from sensorflow.cli.config import shown
from sensorflow.errors import SettingsError
from sensorflow.settings import Settings


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_defaults_need_nothing() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.workers) == ("0.0.0.0", 8000, 1)
    assert settings.api_key is None
    assert settings.timezone == "UTC"
    assert settings.max_ws_connections_per_key == 0


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=9001\nAPI_KEY=key-in-file\n")
    monkeypatch.setenv("PORT", "9002")
    settings = Settings()
    assert (settings.port, settings.api_key) == (9002, "key-in-file")


def test_an_empty_value_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("PORT=\nAPI_KEY=\n")
    monkeypatch.setenv("API_KEY_WS", "")
    settings = Settings()
    assert (settings.port, settings.api_key, settings.api_key_ws) == (8000, None, None)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("MAX_WS_CONNECTIONS_PER_KEY", "-1"),
        ("MAX_WS_CONNECTIONS_PER_KEY", "five"),
        ("DATABASE_URL", "oracle://db"),
        ("DATABASE_URL", "nonsense"),
        ("TIMEZONE", "Mars/Olympus"),
        ("TIMEZONE", "../../etc/passwd"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("WORKERS", "2"),
        ("WORKERS", "0"),
        ("RETENTION_RAW", "30"),
        ("RETENTION_RAW", "0d"),
        ("RETENTION_RAW", "30m"),
        ("RETENTION_RAW", "200y"),
        ("RETENTION_DAY", "never"),
        ("DISK_BUDGET", "2"),
        ("DISK_BUDGET", "2000KB"),
        ("DISK_BUDGET", "99MB"),
        ("DISK_BUDGET", "-1GB"),
        ("TRUSTED_PROXIES", "proxy.lan"),
        ("TRUSTED_PROXIES", "10.0.0"),
        ("TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/33"),
        ("TRUSTED_PROXIES", "172.18.0.1/16"),
        ("TRUSTED_PROXIES", "127.0.0.1 172.18.0.0/16"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "127.0.0.1, ::/0"),
        ("API_KEY", "short"),
        ("API_KEY_WS", "nön-ascii-key"),
        ("ADMIN_KEY", "a key with spaces"),
        # As `docker run --env-file` passes what `.env` allows.
        ("API_KEY", '"a-key-in-quotes"'),
        ("API_KEY", "a-key-of-my-own # with a comment"),
        ("API_KEY_WS", "'a-key-in-quotes'"),
        ("DATABASE_URL", '"postgresql://user:password@db:5432/sensordb"'),
        ("MAX_WS_CONNECTIONS_PER_KEY", '"5"'),
        ("HOST", '"0.0.0.0"'),
        ("PORT", "8000 # the default"),
    ],
)
def test_a_value_that_cannot_be_right_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        Settings()
    line = str(caught.value)
    assert line.startswith(f"{variable}: ")
    assert "\n" not in line


def test_quotes_in_the_file_are_no_part_of_the_value() -> None:
    Path(".env").write_text("API_KEY=\"a-key-in-quotes\"\nPORT='9001'\n")
    settings = Settings()
    assert (settings.api_key, settings.port) == ("a-key-in-quotes", 9001)


@pytest.mark.parametrize(
    ("value", "networks"),
    [
        ("127.0.0.1", "127.0.0.1/32"),
        ("::1,172.18.0.0/16 , 2001:db8::/32,", "::1/128, 172.18.0.0/16, 2001:db8::/32"),
        (" , ", "(not set)"),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, value: str, networks: str
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", value)
    rows = {variable: value for variable, value, _ in shown(Settings())}
    assert rows["TRUSTED_PROXIES"] == networks


@pytest.mark.parametrize("variable", ["API_KEY", "API_KEY_WS", "ADMIN_KEY"])
def test_a_refused_key_is_not_repeated(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "s3cr")
    with pytest.raises(SettingsError) as caught:
        Settings()
    assert "s3cr" not in str(caught.value)


def test_a_refused_database_url_does_not_show_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2@db/name")
    with pytest.raises(SettingsError) as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


def test_shown_settings_tell_their_source_and_mask_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("API_KEY=key-in-file\n")
    monkeypatch.setenv("PORT", "9002")
    rows = {variable: (value, source) for variable, value, source in shown(Settings())}
    assert rows["API_KEY"] == ("********", ".env")
    assert rows["PORT"] == ("9002", "environment")
    assert rows["HOST"] == ("0.0.0.0", "default")
    assert rows["ADMIN_KEY"] == ("(not set)", "default")


def test_keys_copied_from_the_readme_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "SUA_CHAVE_DE_API_SECRETA_HTTP")
    monkeypatch.setenv("API_KEY_WS", "a-key-of-my-own")
    assert Settings().placeholders == ["API_KEY"]


def test_how_long_and_how_much_is_kept_is_written_as_people_write_it() -> None:
    settings = Settings(
        retention_raw="12h", retention_minute="8w", retention_hour="2y", retention_day="forever",
        disk_budget="1.5GB",
    )  # fmt: skip
    assert settings.retention_raw == timedelta(hours=12)
    assert settings.retention_minute == timedelta(weeks=8)
    assert settings.retention_hour == timedelta(days=730)
    assert settings.retention_day is None
    assert settings.disk_budget == 1_500_000_000
    told = {variable: value for variable, value, _ in shown(settings)}
    assert told["RETENTION_RAW"] == "12h"
    assert told["RETENTION_MINUTE"] == "8w"
    assert told["RETENTION_HOUR"] == "2y"
    assert told["RETENTION_DAY"] == "(not set)"
    assert told["DISK_BUDGET"] == "1500MB"


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"retention_minute": "30d"}, "RETENTION_MINUTE: it is shorter than RETENTION_RAW;"),
        (
            {"retention_raw": "30d", "retention_minute": "60d", "retention_hour": "59d"},
            "RETENTION_HOUR: it is shorter than RETENTION_MINUTE;",
        ),
        (
            {"retention_raw": "30d", "retention_day": "2y"},
            "RETENTION_DAY: it is shorter than RETENTION_MINUTE;",
        ),
        ({"disk_budget": "50MB"}, "DISK_BUDGET: it is too small to work with; 100MB is the least"),
    ],
)
def test_what_is_coarser_is_kept_as_long_and_a_budget_has_to_be_of_use(
    values: dict[str, str], line: str
) -> None:
    with pytest.raises(SettingsError, match=line):
        Settings(**values)
