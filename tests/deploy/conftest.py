"""The engine and the images: made once for all tests in containers."""

from collections.abc import Iterator

import pytest

from tests.deploy.containers import Engine
from tests.deploy.images import Images


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("containers"))
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def images(engine: Engine) -> Images:
    return Images(engine)
