"""A failed password is recorded with its account, and the response does not reveal the account."""

import secrets
from typing import Any

import pytest

from idp.accounts.tables import User
from idp.accounts.users import disable_user
from idp.audit import unauthenticated_limit
from idp.infra.db.engine import fetch
from idp.oauth.credentials import credentials_changed
from tests.support.browser import Browser, as_page

pytestmark = pytest.mark.fault(46)


async def _failures(user: User) -> list[Any]:
    return await fetch(
        "SELECT outcome, detail FROM audit_event WHERE user_id = $1 AND event = 'sign_in' AND outcome <> 'success'",
        user.id,
    )


async def test_a_wrong_password_is_the_account_s(browser: Browser, alice: User) -> None:
    page = as_page(await browser.get("/login"))
    for _ in range(2):
        page = as_page(await browser.sign_in(page, alice.email, "not it"))
    (first, second) = await _failures(alice)
    assert first["outcome"] == second["outcome"] == "failure"
    assert "wrong_password" in first["detail"]


async def test_so_is_one_of_an_account_that_is_disabled(browser: Browser, alice: User) -> None:
    await disable_user(alice.id, credentials_changed)
    await browser.sign_in(as_page(await browser.get("/login")), alice.email, "not it")
    assert len(await _failures(alice)) == 1


async def test_the_response_is_the_same_for_an_unknown_address(browser: Browser, alice: User) -> None:
    answers = []
    for email in (alice.email, f"{secrets.token_hex(6)}@example.com"):
        browser.cookies.clear()
        page = as_page(await browser.sign_in(as_page(await browser.get("/login")), email, "not it"))
        text = page.text.replace(email, "EMAIL").replace(page.path.split("/")[2], "FLOW")
        answers.append(
            (page.status, [line for line in text.splitlines() if "csrf" not in line and "options" not in line])
        )
    assert answers[0] == answers[1]


async def test_the_number_of_events_does_not_depend_on_the_account(
    browser: Browser, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise events that are left out under a flood, and so take less time, would reveal who has an account."""
    from idp.signin import flow as flows
    from idp.signin import service
    from idp.signin.browser import Browser as Sender
    from idp.signin.browser import BrowserKey
    from idp.signin.steps import StepRefusedError
    from idp.signin.transitions import Step

    asked: list[object] = []
    monkeypatch.setattr(unauthenticated_limit, "limit_key", lambda known=None: asked.append(known) or "test")
    flow = await flows.load_bound(await flows.start(BrowserKey.new(), "/"))
    for user_id in (alice.id, None):
        await service._record_refusal(Sender(), flow, Step.PASSWORD, StepRefusedError("No.", user_id))
    assert asked == [None, None]
