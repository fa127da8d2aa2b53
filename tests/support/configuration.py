"""A configuration with every field, and files of tests."""

from pathlib import Path

import pytest

from idp.config import applying, planning
from idp.config.document import Document, load, parse
from idp.config.planning import Plan
from idp.keys import jose

EVERYTHING = Path(__file__).parents[1] / "config" / "everything.yaml"
#: The secrets that it names.
SECRETS = {
    "WEB_SECRET": "w" * 40,
    "BACKEND_SECRET": "b" * 40,
    "CORP_SECRET": "c" * 40,
    "HOOK_SECRET": "whsec_aGFsZiBvZiB0aGlydHktdHdvIGJ5dGVzLg==",
    "TARGET_TOKEN": "t" * 40,
    "APPLE_KEY": jose.to_pem(jose.generate("ES256"), private=True).decode(),
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the variables of :data:`SECRETS`."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return SECRETS


def everything() -> Document:
    return load([str(EVERYTHING)])


def read(text: str, file: str = "a.yaml") -> Document:
    """Read a file of a test; its first line is added."""
    return parse({file: f"version: 1\n{text}".encode()})


async def apply(document: Document, *, prune: bool = False) -> Plan:
    """Plan and apply."""
    plan = (await planning.make(document, prune=prune)).plan
    return await applying.apply(document, plan.revision, prune=prune)


async def planned(document: Document, *, prune: bool = False) -> Plan:
    return (await planning.make(document, prune=prune)).plan
