"""The recipes of docs/migrate-from-cognito.md, migrate-from-firebase.md and migrate-from-supabase.md, on small exports.

And what a record of docs/import.md may bring along.
"""

import io
import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import bcrypt
import pyotp
import pytest

from idp.accounts.attributes.service import values as attribute_values
from idp.accounts.import_files import read_csv, read_json_lines
from idp.accounts.imports import COLUMNS, RejectedRecord, import_users
from idp.accounts.passwords import verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from idp.federation.repository import emails_of_identities
from idp.infra.db.engine import execute, fetch, fetchrow
from idp.signin.factors import totp
from idp.signin.factors.imports import release, store
from idp.signin.factors.repository import find_totp
from tests.support.attributes import Declare, declare
from tests.support.imports import PASSWORD
from tests.support.isolated import own_database

__all__ = ["declare", "own_database"]
pytestmark = pytest.mark.fault(30)

DOCS = Path(__file__).parents[2] / "docs"
GOOGLE, GITHUB, APPLE = "https://accounts.google.com", "https://github.com", "https://appleid.apple.com"


@pytest.fixture
def domain(db: str) -> str:
    return f"{secrets.token_hex(6)}.example.com"


def _recipe(system: str) -> str:
    guide = (DOCS / f"migrate-from-{system}.md").read_text(encoding="utf-8")
    found = re.search(r"```(?:sh|sql)\n(.*?)```", guide, re.DOTALL)
    assert found is not None, system
    return found[1]


def _run(folder: Path, system: str, files: dict[str, str], **environment: str) -> bytes:
    """Return the output of the recipe for the files."""
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed.")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    subprocess.run(["sh", "-ec", _recipe(system)], cwd=folder, check=True, env=os.environ | environment)
    return (folder / "users.jsonl").read_bytes()


async def _import(data: bytes, *, csv: bool = False) -> list[RejectedRecord]:
    records = read_csv(io.BytesIO(data), COLUMNS) if csv else read_json_lines(io.BytesIO(data))
    return [
        refusal
        async for batch in import_users(records, store, emails_of_identities, release)
        for refusal in batch.refused
    ]


async def _known(email: str) -> User:
    user = await user_by_email(email)
    assert user is not None, email
    return user


async def _identities(user: User) -> list[tuple[str, str, str]]:
    rows = await fetch("SELECT issuer, subject, upstream_id FROM identity WHERE user_id = $1", user.id)
    return [tuple(row) for row in rows]


async def test_from_firebase(tmp_path: Path, domain: str, declare: Declare) -> None:
    subject = str(10**20 + secrets.randbelow(10**15))
    ada = {
        "localId": "yrLqC2gBTVXLSHyBcLoKyZ", "email": f"ada@{domain}", "emailVerified": True,
        "displayName": "Ada Lovelace", "photoUrl": "https://example.com/ada.png", "phoneNumber": "+49301",
        "passwordHash": "lSrfV15cpx95_sZS2W9c9Kp6i_LVgQNDNC_qzrCnh1SAyZvqmZqAjTdn3aoItz-VHjoZilo78198JAdRuid5lQ==",
        "salt": "42xEC-ixf3L2lw==", "createdAt": "1508198023000",
        "providerUserInfo": [{"providerId": "google.com", "rawId": subject, "email": f"ada@{domain}"},
                             {"providerId": "github.com", "rawId": subject}, {"providerId": "phone", "rawId": "1"}],
    }  # fmt: skip
    bob = {"localId": "x", "email": f"bob@{domain}", "emailVerified": False, "disabled": True, "providerUserInfo": []}
    key = "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA=="
    users = {"users": [ada, bob, {"localId": "anonymous"}]}
    data = _run(tmp_path, "firebase", {"users.json": json.dumps(users)}, KEY=key)
    await declare(name="firebase_uid")
    assert await _import(data) == []
    user = await _known(f"ada@{domain}")
    assert (user.name, user.picture, user.phone_number_verified) == (
        "Ada Lovelace",
        "https://example.com/ada.png",
        True,
    )
    assert await verify_password(user.password_hash, "user1password")
    assert sorted(await _identities(user)) == [(GOOGLE, subject, "google"), (GITHUB, subject, "github")]
    assert (await _known(f"bob@{domain}")).disabled_at is not None
    assert await attribute_values(user.id) == {"firebase_uid": ada["localId"]}


async def test_from_cognito(tmp_path: Path, domain: str) -> None:
    sub = str(uuid4())

    def person(username: str, enabled: bool, **attributes: str) -> dict[str, Any]:
        has = [{"Name": key, "Value": value} for key, value in attributes.items()]
        return {"Username": username, "Enabled": enabled, "UserStatus": "CONFIRMED", "Attributes": has}

    ada = person("ada", True, sub=sub, email=f"ada@{domain}", email_verified="true", given_name="Ada",
                 family_name="Lovelace", phone_number="+49301", phone_number_verified="true",
                 identities=json.dumps([
                     {"userId": sub, "providerName": "Google", "providerType": "Google", "issuer": None},
                     {"userId": sub, "providerType": "SignInWithApple", "issuer": None},
                     {"userId": sub, "providerName": "Corp", "providerType": "OIDC", "issuer": "https://corp.example"},
                     {"userId": sub, "providerName": "Facebook", "providerType": "Facebook", "issuer": None},
                 ]))  # fmt: skip
    bob = person("bob", False, sub=str(uuid4()), email=f"bob@{domain}", email_verified="false", name="Bob B.")
    zoe = person("zoe", True, sub=str(uuid4()), phone_number="+49302")
    data = _run(tmp_path, "cognito", {"users.json": json.dumps({"Users": [ada, bob, zoe]})})
    assert await _import(data) == []
    user = await _known(f"ada@{domain}")
    assert (str(user.id), user.name, user.email_verified, user.phone_number_verified) == (
        sub,
        "Ada Lovelace",
        True,
        True,
    )
    assert sorted(await _identities(user)) == [
        (GOOGLE, sub, "google"), (APPLE, sub, "apple"), ("https://corp.example", sub, "corp.example"),
    ]  # fmt: skip
    other = await _known(f"bob@{domain}")
    assert (other.name, other.email_verified, other.disabled_at is not None) == ("Bob B.", False, True)


async def test_from_supabase(own_database: str) -> None:
    """On tables as its database has them."""
    sub, subject = uuid4(), secrets.token_hex(8)
    users = (
        "id uuid, email text, email_confirmed_at timestamptz, raw_user_meta_data jsonb, phone text,"
        " phone_confirmed_at timestamptz, banned_until timestamptz, encrypted_password text, deleted_at timestamptz,"
        " is_anonymous boolean NOT NULL DEFAULT false"
    )
    await execute("CREATE SCHEMA auth")
    await execute(f"CREATE TABLE auth.users ({users})")
    await execute("CREATE TABLE auth.identities (user_id uuid, provider text, provider_id text)")
    await execute(
        "CREATE TABLE auth.mfa_factors"
        " (user_id uuid, factor_type text, status text, secret text, created_at timestamptz)"
    )
    stored = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2a$")
    add = "INSERT INTO auth.users VALUES ($1, $2, now(), $3, '49301', now(), $4, $5, NULL)"
    told = json.dumps({"full_name": "Ada Lovelace", "avatar_url": "https://example.com/ada.png"})
    await execute(add, sub, "ada@example.com", told, None, stored)
    secret = pyotp.random_base32()
    await execute(
        "INSERT INTO auth.identities VALUES ($1, 'google', $2), ($1, 'github', $2), ($1, 'email', $2)", sub, subject
    )
    await execute("INSERT INTO auth.mfa_factors VALUES ($1, 'totp', 'verified', $2, now())", sub, secret)
    await execute(
        "INSERT INTO auth.users (id, email, is_anonymous) VALUES ($1, '', false), ($2, 'x@example.com', true)",
        uuid4(), uuid4(),
    )  # fmt: skip
    rows = await fetch(_recipe("supabase"))
    assert await _import("\n".join(row[0] for row in rows).encode()) == []
    user = await _known("ada@example.com")
    assert (user.id, user.name, user.email_verified, user.phone_number_verified) == (sub, "Ada Lovelace", True, True)
    assert await verify_password(user.password_hash, PASSWORD)
    assert sorted(await _identities(user)) == [(GOOGLE, subject, "google"), (GITHUB, subject, "github")]
    assert await totp.verify(user.id, pyotp.TOTP(secret).now())
    assert await user_by_email("x@example.com") is None


# What a record may bring along


async def test_csv_keeps_sub_secret_and_identities(domain: str) -> None:
    sub, secret = uuid4(), pyotp.random_base32()
    identities = json.dumps([{"issuer": "https://login.example", "subject": f"s-{sub}"}]).replace('"', '""')
    text = f'email,sub,totp_secret,identities\r\nada@{domain},{sub},{secret.lower()},"{identities}"\r\n'
    assert await _import(text.encode(), csv=True) == []
    user = await _known(f"ada@{domain}")
    assert user.id == sub
    assert await find_totp(sub) is not None
    assert await totp.verify(sub, pyotp.TOTP(secret).now())
    assert await _identities(user) == [("https://login.example", f"s-{sub}", "login.example")]
    row = await fetchrow("SELECT secret FROM totp WHERE user_id = $1", sub)
    assert row is not None
    assert secret.encode() not in bytes(row["secret"])


async def test_a_sub_or_identity_of_another_user_is_refused(domain: str) -> None:
    """It is reported with its line, and the others are imported. Importing the same file again changes nothing."""
    sub, subject = str(uuid4()), secrets.token_hex(8)
    identity = {"issuer": "https://login.example", "subject": subject}
    first = [{"email": f"ada@{domain}", "sub": sub, "identities": [identity]}]
    for _ in range(2):
        assert await _import(_lines(first)) == []
    second = [
        {"email": f"bob@{domain}", "sub": sub},
        {"email": f"eve@{domain}", "identities": [identity]},
        {"email": f"one@{domain}", "sub": (own := str(uuid4()))},
        {"email": f"two@{domain}", "sub": own},
        {"email": f"zoe@{domain}"},
    ]
    refused = await _import(_lines(second))
    assert [(refusal.line, refusal.reason) for refusal in refused] == [
        (1, "The sub belongs to another user."),
        (2, "The identity belongs to another user."),
        (4, "The sub is the same as on line 3."),
    ]
    assert (await _known(f"zoe@{domain}")).id
    assert (await _known(f"ada@{domain}")).id == UUID(sub)
    for nobody in ("bob", "eve", "two"):
        assert await user_by_email(f"{nobody}@{domain}") is None


@pytest.mark.parametrize(
    "values",
    [
        {"sub": "auth0|ada"}, {"sub": 7}, {"totp_secret": "x"}, {"totp_secret": "A" * 200}, {"totp_secret": "A" * 17},
        {"totp_secret": 7}, {"identities": "x"}, {"identities": [{"issuer": "https://x.example"}]},
        {"identities": [{"issuer": "x", "subject": "y"}]}, {"identities": {}}, {"identities": 7},
        *({"identities": [{"issuer": "https://x.example", "subject": subject}]} for subject in ("", "\0", "x" * 256)),
        {"identities": [{"issuer": "https://x.example", "subject": "y", "more": 1}]},
        {"identities": [{"issuer": "https://x.example", "subject": str(n)} for n in range(21)]},
        {"identities": [{"issuer": "https://x.example", "subject": "y"}] * 2},
    ],
    ids=repr,
)  # fmt: skip
async def test_invalid_values_are_refused(domain: str, values: dict[str, Any]) -> None:
    (refusal,) = await _import(_lines([{"email": f"ada@{domain}"} | values]))
    assert re.fullmatch(r"[A-Z].*\.", refusal.reason)
    assert await user_by_email(f"ada@{domain}") is None


def _lines(records: list[dict[str, Any]]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()
