"""One server in development mode for all tests of this folder, and a browser at it."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, open_browser
from tests.support.isolated import own_database
from tests.support.server import Server

__all__ = ["own_database"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dev")


@pytest.fixture(scope="session")
def dev(folder: Path) -> Iterator[Server]:
    """`idp serve --dev` on a separate embedded database."""
    server = Server(folder, "--dev", IDP_DATA_DIR=str(folder / "data"), IDP_KEYS_DIR=str(folder / "keys"))
    yield server
    server.stop()


@pytest.fixture
async def visitor(dev: Server) -> AsyncIterator[Browser]:
    async with open_browser(dev.issuer) as browser:
        yield browser


@pytest.fixture
def secrets_of_demo(dev: Server, folder: Path) -> dict[str, str]:
    """The secrets that the server made for its sample data."""
    values: dict[str, str] = json.loads((folder / "data" / "demo.json").read_text())
    return values
