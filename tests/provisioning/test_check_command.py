"""`idp provisioning check` works on the check itself, so that no server needs to run."""

import asyncio
from pathlib import Path

from tests.cli.conftest import Cli
from tests.conftest import MASTER_KEY
from tests.provisioning.conftest import deliver, target, user
from tests.provisioning.fake import FakeScim


async def test_the_command(scim: FakeScim, database: str, tmp_path: Path) -> None:
    settings = {
        "IDP_DATABASE_URL": database, "IDP_OUTBOUND_ALLOW_HTTP": "true", "IDP_MASTER_KEY": MASTER_KEY,
        "IDP_OUTBOUND_ALLOWED_HOSTS": "127.0.0.1/32",
    }  # fmt: skip
    cli = Cli(tmp_path, settings)
    await user(name="Name")
    target_id = str(await target(scim))
    await deliver()
    (account,) = scim.users.values()
    account["displayName"] = "Changed there"
    found = (await asyncio.to_thread(lambda: cli("provisioning", "check", target_id, "--json"))).json
    assert found["check"]["state"] == "done"
    assert [(each["kind"], each["details"]) for each in found["drift"]] == [("different", ["displayName"])]
    await asyncio.to_thread(lambda: cli("provisioning", "check", target_id, "--mend"))
    await deliver()
    assert account["displayName"] == "Name"
    shown = await asyncio.to_thread(lambda: cli("provisioning", "drift", target_id))
    assert "different" in shown.out
