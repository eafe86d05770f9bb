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
    """The keys in force, and those made just now, which `keep_keys` is to keep once shown.

    A key in `given` comes from the settings and wins; it is not written anywhere. Raises
    `SettingsError` where the file cannot be read.
    """
    kept = _read(data_dir / FILE_NAME)
    made = {s: make_key() for s in Scope if s not in given and s not in kept}
    new = {**made, **given}
    return Keyring(kept | {scope: digest(key) for scope, key in new.items()}), made


def keep_keys(data_dir: Path, made: Mapping[Scope, str]) -> None:
    """Keep the digests of keys that have been shown. Raises `OSError`."""
    if made:
        path = data_dir / FILE_NAME
        _write(path, _read(path) | {scope: digest(key) for scope, key in made.items()})


def renew_key(data_dir: Path, scope: Scope) -> str:
    """Replace the kept key of `scope`; it is in force from the next start, also of a worker.

    Returns the new key. Raises `SettingsError` where no server has kept keys, or the file cannot
    be written.
    """
    path = data_dir / FILE_NAME
    if not path.exists():
        raise SettingsError(
            f"DATA_DIR: no server has kept keys in {data_dir}; run this in the server's folder, "
            "or with its DATA_DIR."
        )
    key = make_key()
    try:
        _write(path, _read(path) | {scope: digest(key)})
    except OSError as error:
        raise SettingsError(f"DATA_DIR: {path} cannot be written ({error.strerror}).") from None
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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, has to outlast a power cut
    finally:
        os.close(folder)
