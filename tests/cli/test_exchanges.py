"""`idp token-exchange`."""

import json

from idp.oauth.token.token_exchange import GRANT_TYPE
from tests.cli.conftest import Cli

STOCK = "https://stock.example.com"


async def test_policies_are_added_listed_and_removed(cli: Cli) -> None:
    service = ("--type", "service", "--grant-type", GRANT_TYPE, "--scope", "stock:read", "--json")
    client_id = json.loads(cli("clients", "create", "--name", "Orders", *service, IDP_TOKEN_EXCHANGE="true").out)[
        "client_id"
    ]
    cli("resources", "create", STOCK, "--name", "Stock", "--scope", "stock:read")
    add = ("token-exchange", "add", client_id, "--resource", STOCK, "--scope", "stock:read")
    more = ("--subject-token-type", "id_token", "--subject-client", "web", "--max-lifetime", "60", "--json")
    added = json.loads(cli(*add, *more).out)
    assert (added["mode"], added["subject_token_types"], added["max_lifetime"]) == ("delegation", ["id_token"], 60)
    listed = json.loads(cli("token-exchange", "list", "--json").out)
    assert [policy for policy in listed if policy["client_id"] == client_id] == [added]
    assert STOCK in cli("token-exchange", "list").out
    assert "impersonation" in cli(*add, "--mode", "impersonation").out
    assert "is removed" in cli("token-exchange", "remove", added["id"]).out
    assert "There is no policy" in cli("token-exchange", "remove", added["id"], code=1).err


async def test_what_is_refused(cli: Cli) -> None:
    batch = json.loads(cli("clients", "create", "--name", "Batch", "--type", "service", "--json").out)["client_id"]
    refused = cli("token-exchange", "add", batch, "--resource", STOCK, code=1).err
    assert "not registered for the grant" in refused
    assert "There is no client" in cli("token-exchange", "add", "nobody", "--resource", STOCK, code=1).err
    assert "each once" in cli("token-exchange", "add", batch, *("--resource", STOCK) * 2, code=1).err
