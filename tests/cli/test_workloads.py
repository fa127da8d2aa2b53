"""`idp workloads`."""

import json
from pathlib import Path

from tests.cli.conftest import Cli
from tests.support.assertions import ClientKeys

SERVICE = ("--type", "service", "--auth-method", "workload_identity", "--json")


async def test_rules_are_added_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    created = json.loads(cli("clients", "create", "--name", "Orders", *SERVICE).out)
    assert "client_secret" not in created
    client_id = created["client_id"]
    keys = tmp_path / "jwks.json"
    keys.write_text(json.dumps(ClientKeys().jwks()))
    rule = ("--issuer", "https://kubernetes.default.svc", "--subject", "system:serviceaccount:shop:*")
    added = cli("workloads", "add", client_id, *rule, "--jwks", str(keys), "--reusable", "--json").out
    id_ = json.loads(added)["id"]
    listed = json.loads(cli("workloads", "list", "--json").out)
    (shown,) = [each for each in listed if each["id"] == id_]
    assert (shown["client_id"], shown["single_use"], len(shown["jwks"]["keys"])) == (client_id, False, 1)
    assert "kubernetes.default.svc" in cli("workloads", "list").out
    assert "has this workload identity already" in cli("workloads", "add", client_id, *rule, code=1).err
    assert "is removed" in cli("workloads", "remove", id_).out
    assert "There is no workload identity" in cli("workloads", "remove", id_, code=1).err


async def test_what_is_refused(cli: Cli) -> None:
    created = json.loads(cli("clients", "create", "--name", "Batch", "--type", "service", "--json").out)
    rule = ("--issuer", "https://issuer.example", "--subject", "a:b")
    assert "not registered for the method" in cli("workloads", "add", created["client_id"], *rule, code=1).err
    assert "There is no client" in cli("workloads", "add", "no-such-client", *rule, code=1).err
