"""The engine and the images: made once for all tests in containers."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.containers import Engine
from tests.deploy.images import Images
from tests.postgres import MEMORY

MEMORY_NEEDED = 6 * 1024**3


def _place() -> Path | None:
    """The file system in memory, where there is room: images are written many times faster there,
    and waiting for the disk is no part of these tests."""
    roomy = MEMORY.is_dir() and min(
        psutil.virtual_memory().available, shutil.disk_usage(MEMORY).free
    )
    return MEMORY if roomy >= MEMORY_NEEDED else None


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    folder = Path(tempfile.mkdtemp(prefix=f"sensorflow-containers-{os.getpid()}-", dir=_place()))
    try:
        engine = Engine(folder)
        try:
            yield engine
        finally:
            engine.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def images(engine: Engine) -> Images:
    return Images(engine)
