"""The page with the checks of the doctor that call no other server."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from idp.admin.console import health, overview
from idp.admin.roles import Permission, Role
from idp.doctor.checks import CHECKS
from idp.doctor.models import Level, Needs
from idp.infra.db.readiness import readiness
from idp.oauth.clients.registration import register_client
from tests.admin.console.conftest import Admin
from tests.conftest import MASTER_KEY


async def test_what_is_wrong_comes_with_its_mend(owner: Admin) -> None:
    """PostgreSQL of the tests does not wait for its disk, which is an error."""
    page = await owner.get("/admin/health")
    assert page.status == 200
    assert "fsync is off" in page.text
    assert "Set fsync = on in postgresql.conf" in page.text
    assert "Every migration is applied." in page.text
    assert MASTER_KEY not in page.text
    for check in CHECKS:
        if check.network or not check.console:
            assert f">{check.title}" not in page.text.partition("<main")[2]


async def test_a_check_is_shown_to_those_who_may_read_its_subject(admins: dict[Role, Admin]) -> None:
    seen = {role: (await admins[role].get("/admin/health")) for role in (Role.OWNER, Role.KEY_ADMIN, Role.SUPPORT)}
    for role, titles in ((Role.OWNER, {"Signing keys", "Clients"}), (Role.KEY_ADMIN, {"Signing keys"})):
        shown = seen[role].text.partition("<main")[2]
        assert {
            title for title in ("Signing keys", "Clients") if f">{title}<" in shown or f">{title}: " in shown
        } == titles
    assert seen[Role.SUPPORT].status == 403


@pytest.mark.usefixtures("own_database")
async def test_a_worker_examines_at_most_twice_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "joined", True)
    doctor = health._Doctor()
    first = await doctor.latest()
    assert await doctor.latest() is first
    assert {result.check for result in first.results} == {
        check.name for check in CHECKS if check.console and not check.network
    }
    assert not any(result.skipped for result in first.results)
    monkeypatch.setattr(health, "KEPT_SECONDS", -1.0)
    assert await doctor.latest() is not first


@pytest.mark.usefixtures("own_database")
async def test_the_overview_counts_notes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all checks pass if the page has something to read."""
    monkeypatch.setattr(readiness, "joined", True)
    monkeypatch.setattr(health, "_doctor", health._Doctor())
    await register_client(client_name="A", redirect_uris=["https://a.example.com/cb"], scope="openid undefined")
    request: Any = SimpleNamespace(caller=SimpleNamespace(allowed=frozenset(Permission)))
    counts = await health.counts(frozenset(Permission))
    assert counts[Level.NOTE] > 0
    shown = (await overview._health(request))["Health"].text
    assert [int(number) for number in re.findall(r"\d+", shown)] == [
        counts[level] for level in (Level.ERROR, Level.WARNING, Level.NOTE) if counts[level]
    ]


def test_what_the_page_needs_names_checks() -> None:
    assert health.NEEDED.keys() <= {check.name for check in CHECKS if check.needs is Needs.RECORDS}
