"""Keys the operator did not set: made at the first start, kept as digests in DATA_DIR."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sensorflow.errors import SettingsError
from sensorflow.keys.keyring import Keyring, Scope, digest, make_key

FILE_NAME: Final = "keys.json"


def load_keys(data_dir: Path, given: Mapping[Scope, str]) -> tuple[Keyring, dict[Scope, str]]:
    """The keys in force, and those made just now, which nobody can be shown again.

    A key in `given` comes from the settings and wins; it is not written anywhere. Raises
    `SettingsError` where the file cannot be read.
    """
    kept = _read(data_dir / FILE_NAME)
    made = {s: make_key() for s in Scope if s not in given and s not in kept}
    if made:
        kept |= {scope: digest(key) for scope, key in made.items()}
        _write(data_dir / FILE_NAME, kept)
    return Keyring(kept | {scope: digest(key) for scope, key in given.items()}), made


def renew_key(data_dir: Path, scope: Scope) -> str:
    """Replace the kept key of `scope`; it is in force from the next start. Returns the new key."""
    path = data_dir / FILE_NAME
    key = make_key()
    _write(path, _read(path) | {scope: digest(key)})
    return key


def _read(path: Path) -> dict[Scope, bytes]:
    try:
        entries = json.loads(path.read_text())
        return {Scope(scope): bytes.fromhex(entry["sha256"]) for scope, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise SettingsError(
            f"DATA_DIR: {path} is not readable as a key file ({error}); "
            "restore it, or remove it to have new keys made."
        ) from None


def _write(path: Path, digests: Mapping[Scope, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({s.value: {"sha256": d.hex()} for s, d in digests.items()}, indent=2)
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    beside.touch(mode=0o600)
    with beside.open("w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
