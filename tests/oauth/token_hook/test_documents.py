"""The receiver and the commands of docs/token-hook.md."""

import asyncio
import json
import re
import secrets
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from idp.accounts.tables import User
from tests.cli.conftest import Cli, cli
from tests.conftest import MakeClient
from tests.support.browser import Browser
from tests.support.receivers import Receivers
from tests.support.server import LOOPBACK
from tests.support.token_hooks import bodies, says, set_hook
from tests.support.tokens import claims_of

__all__ = ["cli"]
TEXT = (Path(__file__).parents[3] / "docs" / "token-hook.md").read_text()


async def test_the_receiver(browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers) -> None:
    """Verifies a request, answers it, and refuses one that was changed, is old, or is signed with another secret."""
    documented: dict[str, Any] = {}
    exec(TEXT.partition("```python\n")[2].partition("```")[0], documented)
    party = await make_client(skip_consent=True)
    _, secret = await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = says({})
    token = (await party.tokens(browser, alice.email))["refresh_token"]
    (received,) = receivers.received
    answer = documented["answer"]
    assert json.loads(answer(secret, received.headers, received.body)) == {"deny": {"reason": "no subscription"}}
    documented["TIERS"][str(alice.id)] = "gold"
    receivers.behaviours["hook"] = says(json.loads(answer(secret, received.headers, received.body)))
    refreshed = (await party.refresh(token)).json()
    assert [claims_of(refreshed[name])["tier"] for name in ("access_token", "id_token")] == ["gold", "gold"]
    old = dict(received.headers) | {"webhook-timestamp": str(int(received.headers["webhook-timestamp"]) - 400)}
    for key, headers, body in (
        (secret, received.headers, received.body + b" "),
        (secret, old, received.body),
        ("whsec_" + "A" * 43 + "=", received.headers, received.body),
    ):
        with pytest.raises(ValueError, match="not signed"):
            answer(key, headers, body)


async def test_the_request(browser: Browser, make_client: MakeClient, alice: User, receivers: Receivers) -> None:
    """It has the members of the documentation."""
    documented = json.loads(TEXT.partition("```json\n")[2].partition("```")[0])
    party = await make_client(skip_consent=True)
    await set_hook(party, receivers.url("hook"))
    receivers.behaviours["hook"] = says({})
    await party.tokens(browser, alice.email)
    (asked,) = bodies(receivers)
    assert list(asked) == list(documented)
    assert asked["authentication"].keys() == documented["authentication"].keys()


async def test_the_commands(cli: Cli, receivers: Receivers) -> None:
    """With other names, and a receiver that is there."""
    own = f"shop-{secrets.token_hex(4)}"
    receivers.behaviours["hook"] = says({"claims": {"access_token": {"tier": "gold"}}})
    text = TEXT.replace("--id shop", f"--id {own}").replace("--client shop", f"--client {own}")
    text = text.replace("preview shop", f"preview {own}").replace("ada@", f"{own}@")
    text = text.replace("https://claims.example.com/hook", receivers.url("hook"))
    commands = re.findall(r"^\$ idp (.*)$", text, re.MULTILINE)
    assert len(commands) == 5
    run = partial(cli, **LOOPBACK)
    out = [(await asyncio.to_thread(run, *shlex.split(command))).out for command in commands]
    assert "whsec_" in out[1]
    assert own in out[2]
    assert "gold" in out[4]
    assert bodies(receivers)[0]["at"] == "preview"
