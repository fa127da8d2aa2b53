"""Row 42: lenient parsing of Basic credentials, two methods at once, and comparisons that are not constant-time."""

import ast
import asyncio
import base64
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import idp
from idp import ids
from idp.errors import InvalidClientError, InvalidRequestError
from idp.oauth.clients.authentication import authenticate
from idp.oauth.clients.authentication.basic import decode
from idp.oauth.clients.authentication.client_secret_basic import client_secret_basic
from idp.oauth.clients.authentication.credentials import Sent
from idp.oauth.clients.models import Client
from idp.oauth.clients.registration import register_client
from idp.oauth.clients.registry import registry


def basic(pair: str | bytes) -> str:
    data = pair.encode() if isinstance(pair, str) else pair
    return f"Basic {base64.b64encode(data).decode()}"


@pytest.fixture
async def shop(db: str) -> tuple[Client, str]:
    """A confidential client of the default method."""
    client, secret = await register_client(client_name="Shop", redirect_uris=["https://shop.example/cb"])
    await registry.load()
    assert secret is not None
    return client, secret


async def test_42_the_control_is_accepted(shop: tuple[Client, str]) -> None:
    client, secret = shop
    good = basic(f"{client.client_id}:{secret}")
    assert await authenticate(good, {}) == client
    for scheme in ("basic", "BASIC", "bAsIc", "Basic "):
        assert await authenticate(good.replace("Basic", scheme, 1), {}) == client
    encoded = basic("".join(f"%{ord(character):02x}" for character in client.client_id) + f":{secret}")
    assert await authenticate(encoded, {}) == client


MALFORMED = [
    "",
    " ",
    "Basic",
    "Basic ",
    "Basic \t",
    "Basic ====",
    "Basic YQ",
    "Basic YQ==",
    "Basic Og==",
    "Basic a:b",
    "Basic !!!!",
    "Basic YTpi YTpi",
    "Basic YTpi\n",
    "Basic YTpi=",
    "Basic YTpj\u00e9",
    "Basic,YTpi",
    "Basic:YTpi",
    "BasicYTpi",
    "Bearer YTpi",
    "Digest username=a",
    "YTpi",
    "\0",
    basic(b"\xff\xfe:secret"),
    basic(b"client:\xff"),
    basic(":secret"),
    basic("client:"),
    basic("client"),
    basic("%:secret"),
    basic("%2:secret"),
    basic("%zz:secret"),
    basic("client:%"),
    basic("client:%e"),
    basic("client:%ff"),
    basic("%c3%28:secret"),
    basic("client%3Asecret"),
]


@pytest.mark.usefixtures("db")  # a refusal is noted, which needs the master key
@pytest.mark.parametrize("authorization", MALFORMED, ids=ascii)
async def test_42_malformed_credentials_are_refused_and_never_an_error(authorization: str) -> None:
    for form in ({}, {"client_id": "client"}):
        with pytest.raises(InvalidClientError) as refused:
            await authenticate(authorization, form)
        assert refused.value.challenge


async def test_42_other_spellings_of_good_credentials_are_refused(shop: tuple[Client, str]) -> None:
    """base64 has one spelling for each pair, and a pair is split at its first colon, before it is decoded."""
    client, secret = shop
    pair = f"{client.client_id}:{secret}"
    good = basic(pair)
    for other in (
        good + "=",
        good.rstrip("=") + "====",
        good[:20] + " " + good[20:],
        good[:20] + "\r\n" + good[20:],
        basic(pair + "\0"),
        basic(pair + " "),
        basic(pair + "\n"),
        basic(" " + pair),
        basic(f"{client.client_id}%00:{secret}"),
        basic(f"{client.client_id}%3A{secret}"),
        basic(f"{client.client_id}::{secret}"),
        basic(f"{client.client_id.upper()}:{secret}"),
        basic(f"{client.client_id}:{secret}+"),
        basic(f"{client.client_id}:%25{secret}"),
        basic(pair.encode("utf-16")),
        basic(b"\xef\xbb\xbf" + pair.encode()),
    ):
        with pytest.raises(InvalidClientError):
            await authenticate(other, {})


def test_42_both_halves_are_form_encoded() -> None:
    """RFC 6749 section 2.3.1: decoded once, never twice, and a plus sign is a space."""
    for encoded, client_id in (("a%3Ab", "a:b"), ("a+b", "a b"), ("a%2Bb", "a+b"), ("a%2525", "a%25"), ("%C3%A9", "é")):
        attempt = client_secret_basic(Sent(decode(basic(f"{encoded}:x:y")), {}, "/token"))
        assert attempt is not None
        assert attempt.client_id == client_id


async def test_42_two_methods_at_once(shop: tuple[Client, str]) -> None:
    client, secret = shop
    header = basic(f"{client.client_id}:{secret}")
    for form in (
        {"client_id": client.client_id, "client_secret": secret},
        {"client_secret": secret},
        {"client_secret": "wrong"},
    ):
        with pytest.raises(InvalidRequestError):
            await authenticate(header, form)


async def test_42_a_public_client_has_no_secret_to_guess(db: str) -> None:
    client, _ = await register_client(
        client_name="Spa", redirect_uris=["https://spa.example/cb"], token_endpoint_auth_method="none"
    )
    await registry.load()
    assert await authenticate(None, {"client_id": client.client_id}) == client
    for secret in ("x", "None", "\0" * 32, ids.random_token()):
        with pytest.raises(InvalidClientError):
            await authenticate(basic(f"{client.client_id}:{secret}"), {})
        with pytest.raises(InvalidClientError):
            await authenticate(None, {"client_id": client.client_id, "client_secret": secret})


async def test_42_every_secret_is_compared_in_constant_time(
    shop: tuple[Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A known client, an unknown one, and one without a secret all cost two comparisons of SHA-256: of two secrets."""
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watch(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return compare(left, right)

    client, secret = shop
    public, _ = await register_client(
        client_name="Spa", redirect_uris=["https://spa.example/cb"], token_endpoint_auth_method="none"
    )
    await registry.load()
    monkeypatch.setattr(hmac, "compare_digest", watch)
    assert await authenticate(basic(f"{client.client_id}:{secret}"), {}) == client
    for client_id in (client.client_id, public.client_id, "no-such-client"):
        with pytest.raises(InvalidClientError):
            await authenticate(basic(f"{client_id}:wrong"), {})
        with pytest.raises(InvalidClientError):
            await authenticate(None, {"client_id": client_id, "client_secret": "wrong"})
    assert compared == [(32, 32)] * 14


@pytest.mark.usefixtures("db")
@given(st.text(max_size=60), st.booleans(), st.dictionaries(st.sampled_from(["client_id", "client_secret"]), st.text()))
def test_42_no_input_is_an_internal_error(text: str, wrapped: bool, form: dict[str, str]) -> None:
    header = basic(text.encode("utf-8", "surrogatepass")) if wrapped else text
    for authorization in (header, None):
        with pytest.raises((InvalidClientError, InvalidRequestError)):
            asyncio.run(authenticate(authorization, form))


def _names(node: ast.expr) -> set[str]:
    """The last part of every name in an expression."""
    return {
        part.attr if isinstance(part, ast.Attribute) else part.id
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute | ast.Name)
    }


def test_42_no_secret_is_compared_with_an_equals_sign() -> None:
    """In the whole product.

    The at_hash of an ID token is no secret: the token is in the same response. Nor is the hash of what was sent to an
    application.
    """
    telling = ("secret", "hash", "digest", "password", "csrf_token", "mac", "signature")
    suspects = []
    for path in sorted(Path(idp.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare) or not all(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
                continue
            names = set().union(*map(_names, [node.left, *node.comparators])) - {"left_half_hash"}
            if "sent_hash" in names:
                continue
            # The database may compare columns that hold hashes of random secrets.
            if any(name.endswith(telling) for name in names) and not any(name.istitle() for name in names):
                suspects.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert suspects == []
