"""The commands of pages that no test of their subject runs, in one installation, as a reader types them."""

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256

import pytest

from idp import clock
from idp.keys import jose
from tests.site.reader import Reader, commands_of, last
from tests.support.server import Server

TOKEN = last(r'"access_token":"([^"]+)"')
SECRET = last(r"(?i)secret[ \t]+(\S+)")
PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("reader")
    server = Server(folder, "--dev", IDP_ISSUER="", IDP_SCIM="true")
    server.issuer = f"http://localhost:{server.port}"
    reader = Reader(server, folder)
    for name in ("ann", "bob", "contractor"):
        reader.idp("users", "create", f"{name}@example.com", "--password-stdin", "--no-mail", input=f"{PASSWORD}\n")
    reader.idp("organizations", "create", "acme", "--name", "Acme")
    yield reader
    server.stop()


def test_admin_api(reader: Reader) -> None:
    printed = reader.read("admin-api.md", {"THE_SECRET": SECRET, "$TOKEN": TOKEN})
    assert '"client_id":"terraform"' in printed


def test_bulk_operations(reader: Reader) -> None:
    leavers = [f"leaver-{number}@example.com" for number in range(212)]
    (reader.folder / "users.jsonl").write_text("".join(json.dumps({"email": each}) + "\n" for each in leavers))
    (reader.folder / "leavers.txt").write_text("\n".join(leavers))
    reader.idp("users", "import", "users.jsonl")
    reader.idp("groups", "create", "Staff")
    reader.read("bulk-operations.md", {"JOB": last(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b")}, input="y\n")


def test_first_party_apps(reader: Reader) -> None:
    verifier = "v" * 43
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")
    values = {
        "code_challenge=…": f"code_challenge={challenge}", "password=…": f"password={PASSWORD}",
        "you@example.com": "ann@example.com",
    }  # fmt: skip
    assert re.search(r'\{"authorization_code":"[^"]+"', reader.read("first-party-apps.md", values))


def test_mail(reader: Reader) -> None:
    reader.read("mail.md", without="idp mail retry")


def test_operations(reader: Reader) -> None:
    """The rotations are alternatives: each begins when the one before is over."""
    for program, *words in commands_of("operations.md"):
        if words[:2] == ["keys", "rotate"]:
            reader.idp("keys", "rotate", "--now")
        (kid, *_) = (each["kid"] for each in json.loads(reader.idp("keys", "list", "--json")))
        reader.do(program, [word.replace("KID", kid) for word in words])


def test_outbound_scim(reader: Reader) -> None:
    reader.idp("attributes", "create", "department", "--type", "string", "--label", "Department")
    (reader.folder / "token.txt").write_text(reader.idp("scim-tokens", "create", "Wiki").split()[-1])
    # Whether there is a job to stop depends on the time; tests/provisioning stop one.
    values = {"https://wiki.example.com": reader.server.issuer}
    reader.read("outbound-scim.md", values, input="y\n", without="idp provisioning (stop|resume)")


def test_rotate_keys(reader: Reader) -> None:
    assert "/jwks/" in reader.read("rotate-keys.md")


def test_scim(reader: Reader) -> None:
    found = last(r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b")
    reader.read("scim.md", {"01a22d87-f22d-75de-9d97-6e0c2f6bcdbe": found}, without="export", input="y\n")


def test_upstreams(reader: Reader) -> None:
    """The upstream is this server, which knows the client: a test says whether it accepts the secret."""
    redirect_uri = f"{reader.server.issuer}/upstreams/acme/callback"
    created = json.loads(reader.idp("clients", "create", "--name", "idp", "--redirect-uri", redirect_uri, "--json"))
    issuers = dict.fromkeys(("https://login.acme.example", "https://login.partner.example"), reader.server.issuer)
    values = {**issuers, "idp": created["client_id"]}
    printed = reader.read("upstreams.md", values, input=f"{created['client_secret']}\n")
    assert "It accepts the client id and the client secret." in printed


def test_workload_identity(reader: Reader) -> None:
    """With a key of our own in place of that of the cluster."""
    key = jose.generate("RS256")
    (reader.folder / "jwks.json").write_text(json.dumps({"keys": [key.public_jwk]}))
    claims = {
        "iss": "https://kubernetes.default.svc.cluster.local", "sub": "system:serviceaccount:shop:orders",
        "aud": reader.server.issuer, "iat": int(clock.now().timestamp()), "exp": int(clock.now().timestamp()) + 600,
    }  # fmt: skip
    (reader.folder / "token").write_text(jose.sign(key, "JWT", claims))
    reader.idp("resources", "create", "https://api.example.org", "--name", "API")
    values = {
        "/var/run/secrets/idp/token": "token",
        "resource=https://api.example.com": "resource=https://api.example.org",
    }
    assert TOKEN(reader.read("workload-identity.md", values, without="kubectl|jq"))


def test_audit(reader: Reader) -> None:
    (reader.folder / "checkpoints").write_text("")
    reader.read("audit.md", {"/mnt/worm/checkpoints": "checkpoints"})


def test_events(reader: Reader) -> None:
    reader.read("events.md", without="idp shared-signals pause")


def test_logout(reader: Reader) -> None:
    reader.idp(
        "clients", "create", "--name", "My app", "--id", "my-app", "--redirect-uri", "https://app.example.com/cb"
    )
    reader.read("logout.md")


@pytest.mark.parametrize("page", ["migrate-from-cognito.md", "migrate-from-firebase.md", "migrate-from-supabase.md"])
def test_migrations(reader: Reader, page: str) -> None:
    """With a file as tests/accounts/test_import_recipes.py make it from an export."""
    (reader.folder / "users.jsonl").write_text(json.dumps({"email": f"ada@{page}.example"}) + "\n")
    printed = reader.read(page, {"my-app": page.removesuffix(".md")}, without="aws|firebase|jq|psql")
    assert "1 imported" in printed
