"""Settings, and where they come from."""

from pathlib import Path
from typing import Final

from sensorflow.cli.doctor.findings import Finding, faulted, passed, warned
from sensorflow.errors import SettingsError
from sensorflow.settings import SECRETS, Settings

SHORT_KEY: Final = 16
"""Characters; a shorter key holds only because wrong ones are limited."""

FEW_CHARACTERS: Final = 6
"""Different ones; a key of fewer was typed, not made."""

PRIVATE: Final = 0o077
"""Rights of others than the owner."""


def check_env_file(path: Path = Path(".env")) -> list[Finding]:
    """Whether `.env` can be read, and by whom."""
    if not path.exists():
        return []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return [faulted(".env", "it is not UTF-8 text", "Save it as UTF-8.")]
    except OSError as error:
        return [
            faulted(
                ".env",
                f"it is there and cannot be read ({error.strerror})",
                "Make it a file that the server's user may read.",
            )
        ]
    secret = any(name in text for name in (*map(str.upper, SECRETS), "DATABASE_URL"))
    if secret and path.stat().st_mode & PRIVATE:
        return [warned(".env", "others on this machine may read the keys in it", "chmod 600 .env")]
    return [passed(".env", "readable")]


def check_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings, where they can be right."""
    try:
        settings = Settings()
    except SettingsError as error:
        return None, [faulted("settings", str(error), "Correct it in .env or in the environment.")]
    return settings, [passed("settings", "valid"), *_keys(settings)]


def _keys(settings: Settings) -> list[Finding]:
    given = {
        name.upper(): key
        for name in sorted(SECRETS)
        if (key := getattr(settings, name)) is not None
    }
    found = []
    for name, key in given.items():
        if name in settings.placeholders:
            found.append(
                warned("keys", f"{name} is the README's example", "Set one that nobody knows.")
            )
        elif len(key) < SHORT_KEY or len(set(key)) < FEW_CHARACTERS:
            found.append(
                warned("keys", f"{name} is easy to guess", "Set a longer one, made at random.")
            )
    names = [name for name, key in given.items() if list(given.values()).count(key) > 1]
    if names:
        found.append(
            warned("keys", f"{' and '.join(names)} are the same", "Give each its own key.")
        )
    made = [name.upper() for name in sorted(SECRETS) if name.upper() not in given]
    if found:
        return found
    if made:
        return [passed("keys", f"{', '.join(made)}: made by the server, kept as digests")]
    return [passed("keys", "set, and none of them easy to guess")]
