"""The checks of a DPoP proof (RFC 9449 section 4.3)."""

import base64
import contextlib
import json
import time
from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from idp.errors import InvalidDPoPProofError, UseDPoPNonceError
from idp.keys import jose
from idp.keys.algorithms import PROOF_ALGORITHMS, SIGNING_ALGORITHMS
from idp.oauth.binding import dpop, nonces
from idp.oauth.binding.dpop import Target
from idp.reasons import Reason
from idp.settings import settings
from tests.support.dpop import DPoPKey, ath, symmetric_proof
from tests.support.isolated import MoveClock, move_clock
from tests.support.tokens import encode, hmac_signed, key, signed

__all__ = ["move_clock"]
pytestmark = pytest.mark.usefixtures("unlocked")

URL = "https://id.example.com/token"
AT_TOKEN = Target("POST", (URL,))
TOKEN = "an.access.token"
AT_RESOURCE = Target("GET", (URL,), TOKEN)


@cache
def client(alg: str = "ES256") -> DPoPKey:
    return DPoPKey(alg)


def proof(**changes: Any) -> str:
    return client().proof("POST", URL, **changes)


def made(header: Any = None, claims: Any = None) -> str:
    """Return a proof with any header and claims, and a valid signature."""
    claims = client().claims("POST", URL) if claims is None else claims
    return signed(client().key, client().header if header is None else header, claims)


def refuse(proof: str, target: Target = AT_TOKEN) -> Reason | None:
    with pytest.raises(InvalidDPoPProofError) as caught:
        dpop.check([proof], target)
    assert (caught.value.code, caught.value.status) == ("invalid_dpop_proof", 400)
    assert caught.value.description.isascii()
    assert not set('"\\') & set(caught.value.description)
    return caught.value.reason


@pytest.mark.parametrize("alg", [alg for alg in SIGNING_ALGORITHMS if alg in PROOF_ALGORITHMS])
def test_a_proof(alg: str) -> None:
    claims = client(alg).claims("POST", URL)
    checked = dpop.check([signed(client(alg).key, client(alg).header, claims)], AT_TOKEN)
    assert (checked.jkt, checked.jti, checked.next_nonce) == (client(alg).jkt, claims["jti"], None)
    assert checked.expires_at.timestamp() == claims["iat"] + settings().dpop_proof_max_age + jose.LEEWAY


def test_the_thumbprint_of_rfc_7638() -> None:
    """The key of RFC 9449 section 4.1 has the thumbprint of its section 6.1."""
    example = (
        "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0Rsc"
        "EJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
        ".eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwia"
        "WF0IjoxNTYyMjYyNjE2fQ"
        ".2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg"
    )
    assert jose.verify_embedded(example, "dpop+jwt", PROOF_ALGORITHMS)[1] == (
        "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
    )


@pytest.mark.parametrize("number", [0, 2, 3])
def test_exactly_one_header(number: int) -> None:
    with pytest.raises(InvalidDPoPProofError):
        dpop.check([proof() for _ in range(number)], AT_TOKEN)
    refuse(f"{proof()}, {proof()}")
    refuse(f"{proof()},{proof()}")


SECRET = bytes(range(32))
HEADERS: dict[str, Callable[[], Any]] = {
    "no typ": lambda: {"alg": "ES256", "jwk": client().jwk},
    "typ JWT": lambda: client().header | {"typ": "JWT"},
    "typ at+jwt": lambda: client().header | {"typ": "at+jwt"},
    "typ with a space": lambda: client().header | {"typ": "dpop+jwt "},
    "typ in a list": lambda: client().header | {"typ": ["dpop+jwt"]},
    "typ null": lambda: client().header | {"typ": None},
    "no alg": lambda: {"typ": "dpop+jwt", "jwk": client().jwk},
    "alg none": lambda: client().header | {"alg": "none"},
    "alg HS256": lambda: client().header | {"alg": "HS256"},
    "alg RS384": lambda: client().header | {"alg": "RS384"},
    "alg in lower case": lambda: client().header | {"alg": "es256"},
    "alg null": lambda: client().header | {"alg": None},
    "alg a list": lambda: client().header | {"alg": ["ES256"]},
    "alg of another key": lambda: client().header | {"alg": "RS256"},
    "alg of another curve": lambda: client().header | {"alg": "ES384"},
    "unknown alg": lambda: client().header | {"alg": "ES256K"},
    "no jwk": lambda: {"typ": "dpop+jwt", "alg": "ES256"},
    "jwk null": lambda: client().header | {"jwk": None},
    "jwk a string": lambda: client().header | {"jwk": json.dumps(client().jwk)},
    "jwk a list": lambda: client().header | {"jwk": [client().jwk]},
    "jwk empty": lambda: client().header | {"jwk": {}},
    "private jwk": lambda: client().header | {"jwk": jose.to_private_jwk(client().key)},
    "jwk with d null": lambda: client().header | {"jwk": client().jwk | {"d": None}},
    "jwk with a symmetric part": lambda: client().header | {"jwk": client().jwk | {"k": "AA"}},
    "symmetric jwk": lambda: client().header | {"jwk": {"kty": "oct", "k": encode(SECRET)}},
    "jwk of another client": lambda: client().header | {"jwk": DPoPKey().jwk},
    "jwk without y": lambda: client().header | {"jwk": {n: v for n, v in client().jwk.items() if n != "y"}},
    "jwk without crv": lambda: client().header | {"jwk": {n: v for n, v in client().jwk.items() if n != "crv"}},
    "jwk without kty": lambda: client().header | {"jwk": {n: v for n, v in client().jwk.items() if n != "kty"}},
    "jwk off the curve": lambda: client().header | {"jwk": client().jwk | {"y": client().jwk["x"]}},
    "jwk with x a number": lambda: client().header | {"jwk": client().jwk | {"x": 7}},
    "jwk with x empty": lambda: client().header | {"jwk": client().jwk | {"x": ""}},
    "jwk with x not base64": lambda: client().header | {"jwk": client().jwk | {"x": "é%\0"}},
    "jwk with x a surrogate": lambda: client().header | {"jwk": client().jwk | {"x": "\ud800"}},
    "jwk with a huge x": lambda: client().header | {"jwk": client().jwk | {"x": "A" * 4000}},
    "jwk with kty a list": lambda: client().header | {"jwk": client().jwk | {"kty": ["EC"]}},
    "jwk with crv an object": lambda: client().header | {"jwk": client().jwk | {"crv": {}}},
    "jwk for another alg": lambda: client().header | {"jwk": client().jwk | {"alg": "ES384"}},
    "short RSA key": lambda: {
        "typ": "dpop+jwt", "alg": "RS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": encode(b"\xff" * 128)}
    },
    "long RSA key": lambda: {
        "typ": "dpop+jwt", "alg": "RS256", "jwk": {"kty": "RSA", "e": "AQAB", "n": encode(b"\xff" * 1024)}
    },
    "RSA key with a huge exponent": lambda: {
        "typ": "dpop+jwt", "alg": "RS256", "jwk": key("RS256").public_jwk | {"e": encode(b"\x7f" + b"\xff" * 255)}
    },
    "Ed25519 key of a wrong length": lambda: {
        "typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}
    },
    "X25519 key": lambda: {
        "typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"kty": "OKP", "crv": "X25519", "x": encode(SECRET)}
    },
    "jku only": lambda: {"typ": "dpop+jwt", "alg": "ES256", "jku": "https://evil.example/jwks"},
    "kid only": lambda: {"typ": "dpop+jwt", "alg": "ES256", "kid": client().jkt},
    "crit": lambda: client().header | {"crit": ["exp"], "exp": 1},
    "crit empty": lambda: client().header | {"crit": []},
    "crit b64": lambda: client().header | {"crit": ["b64"], "b64": False},
    "an array": list,
    "a string": lambda: "header",
    "null": lambda: b"null",
    "not JSON": lambda: b"{",
    "not UTF-8": lambda: b"\xff{}",
    "empty": lambda: b"",
    "NUL": lambda: b"\0",
    "a member twice": lambda: json.dumps(client().header)[:-1].encode() + b',"alg":"ES256"}',
    "nested": lambda: b'{"jwk":' * 3000 + b"1" + b"}" * 3000,
    "4 KB": lambda: client().header | {"kid": "x" * 3200},
    "13 KB": lambda: client().header | {"kid": "x" * 13_000},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Key size")
@pytest.mark.parametrize("name", HEADERS)
def test_headers(name: str) -> None:
    refuse(made(HEADERS[name]()))


@pytest.mark.parametrize("alg", ["HS256", "ES256"])
def test_a_public_key_as_secret(alg: str) -> None:
    claims, public = client().claims("POST", URL), jose.to_pem(client().key, private=False)
    refuse(hmac_signed(public, client().header | {"alg": alg}, claims))
    symmetric = {"kty": "oct", "k": encode(SECRET)}
    refuse(symmetric_proof(claims, {"typ": "dpop+jwt", "alg": alg, "jwk": symmetric}, SECRET))


def test_signatures() -> None:
    header, payload, signature = proof().split(".")
    other = DPoPKey()
    assert refuse(f"{header}.{payload}.") is not None
    assert refuse(f"{header}.{payload}.{encode(bytes(64))}") == Reason.BAD_SIGNATURE
    assert refuse(f"{header}.{encode(client().claims('POST', URL))}.{signature}") == Reason.BAD_SIGNATURE
    assert refuse(signed(other.key, client().header, client().claims("POST", URL))) == Reason.BAD_SIGNATURE
    for at in range(len(signature)):
        changed = "A" if signature[at] != "A" else "B"
        refuse(f"{header}.{payload}.{signature[:at]}{changed}{signature[at + 1 :]}")


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a", "a.b.c", "{}", "\0", "é.é.é", "\ud800", " ", "a" * dpop.MAX_LENGTH, "." * 9000],
    ids=count(),
)
def test_not_a_jwt(text: str) -> None:
    refuse(text)


def test_other_forms_of_a_proof() -> None:
    """Five parts are encrypted, others are padded, folded or too long."""
    one = proof()
    for text in (f"{one}.{one}", f"{one}.", f".{one}", f"{one}=", f"{one}\n", f" {one}", f"DPoP {one}", one[:-1]):
        refuse(text)
    nested = encode({"alg": "dir", "enc": "A128GCM", "typ": "dpop+jwt", "jwk": client().jwk, "cty": "JWT"})
    refuse(f"{nested}..{encode(bytes(12))}.{encode(one.encode())}.{encode(bytes(16))}")
    refuse(made(client().header | {"cty": "JWT"}, one.encode()))
    refuse(proof(x="x" * dpop.MAX_LENGTH))


CLAIMS: list[dict[str, Any]] = [
    *({"htm": htm} for htm in (None, "", "GET", "post", "POST ", ["POST"], 1, True)),
    *({"htu": htu} for htu in (None, "", 1, [URL], {"url": URL}, "https://evil.example/token", URL + "/")),
    *({"jti": jti} for jti in (None, "", 1, ["x"], {}, "x" * 257, "a\0b", "é", "\ud800", "a\nb")),
    *({"iat": iat} for iat in (None, "", "now", [], True, -1, 0, 10**9, 10**12, 10**30, "1700000000")),
    *({"exp": exp} for exp in ("later", True, [], 0, 10**9, 10**30)),
    *({"nbf": nbf} for nbf in ("later", True, [], 10**11, 10**30)),
]


@pytest.mark.parametrize("changes", CLAIMS, ids=lambda each: "-".join(f"{n}-{v!r:.20}" for n, v in each.items()))
def test_claims(changes: dict[str, Any]) -> None:
    refuse(proof(**changes))


@pytest.mark.parametrize(
    "claims", [b"", b"null", b"[]", b'"x"', b"1", b"{", b"\xff", b'{"iat":NaN}', b'{"jti":"a","jti":"a"}']
)
def test_claims_that_are_no_object(claims: bytes) -> None:
    refuse(made(claims=claims))


@pytest.mark.parametrize(
    ("ago", "reason"),
    [(0, None), (-10, None), (10, None), (-50, None), (110, None), (-70, Reason.NOT_YET_VALID), (130, Reason.EXPIRED)],
)
def test_the_window_of_iat(move_clock: MoveClock, ago: int, reason: Reason | None) -> None:
    """FAPI 2.0 section 5.3.2.1: up to 10 seconds ahead must be accepted, more than 60 refused."""
    move_clock(0)
    one = proof(iat=int(time.time()) - ago)
    if reason is None:
        assert dpop.check([one], AT_TOKEN).jkt == client().jkt
    else:
        assert refuse(one) == reason


def test_times_with_fractions_and_lifetimes() -> None:
    now = time.time()
    assert dpop.check([proof(iat=now, exp=now + 30, nbf=now)], AT_TOKEN).jkt == client().jkt
    assert refuse(proof(exp=now - 1)) == Reason.EXPIRED
    assert refuse(proof(nbf=now + 100)) == Reason.NOT_YET_VALID


def test_the_url_of_another_endpoint() -> None:
    assert refuse(proof(htu="https://id.example.com/userinfo")) == Reason.PROOF_OF_ANOTHER_REQUEST
    alias = Target("POST", (URL, "https://mtls.example.com/token"))
    assert dpop.check([proof(htu="https://mtls.example.com/token")], alias).jkt == client().jkt
    assert dpop.check([proof(htu=URL + "?resource=x#y")], AT_TOKEN).jkt == client().jkt


def test_the_hash_of_the_access_token() -> None:
    one = client().proof("GET", URL, TOKEN)
    assert dpop.check([one], AT_RESOURCE).jkt == client().jkt
    for wrong in (None, "", 1, [ath(TOKEN)], ath("another"), ath(TOKEN) + "=", TOKEN, "é", "\ud800"):
        assert refuse(client().proof("GET", URL, ath=wrong), AT_RESOURCE) == Reason.PROOF_OF_ANOTHER_REQUEST
    # At the token endpoint there is no access token to compare it with.
    assert dpop.check([proof(ath="anything")], AT_TOKEN).jkt == client().jkt


@pytest.mark.usefixtures("stopped_clock")
def test_nonces(move_clock: MoveClock, monkeypatch: pytest.MonkeyPatch) -> None:
    move_clock(0)
    fresh = nonces.current()
    assert dpop.check([proof(nonce=fresh)], AT_TOKEN).next_nonce is None
    move_clock(nonces.STEP)
    assert dpop.check([proof(nonce=fresh)], AT_TOKEN).next_nonce == nonces.current() != fresh
    move_clock(nonces.STEP * 4)
    late = int(time.time()) + nonces.STEP * 4
    for wrong in (fresh, "", "x", 1, [nonces.current()], "\ud800"):
        with pytest.raises(UseDPoPNonceError) as caught:
            dpop.check([proof(nonce=wrong, iat=late)], AT_TOKEN)
        assert (caught.value.code, caught.value.nonce) == ("use_dpop_nonce", nonces.current())
    assert dpop.check([proof(iat=late)], AT_TOKEN).next_nonce is None
    monkeypatch.setattr(dpop, "settings", lambda: settings().model_copy(update={"dpop_nonce_required": True}))
    with pytest.raises(UseDPoPNonceError):
        dpop.check([proof(iat=late)], AT_TOKEN)
    assert dpop.check([proof(iat=late, nonce=nonces.current())], AT_TOKEN).jkt == client().jkt


def test_claims_that_are_null() -> None:
    """Like claims that are absent, or of a wrong type."""
    for name, passes in {"nonce": True, "ath": True, "exp": False, "nbf": False, "iat": False, "jti": False}.items():
        made_up = made(claims=client().claims("POST", URL) | {name: None})
        if passes:
            assert dpop.check([made_up], AT_TOKEN).next_nonce is None
        else:
            refuse(made_up)


def test_other_members_are_ignored() -> None:
    header = client().header | {"kid": "x", "x5c": ["x"], "jku": "https://evil.example", "x": {"y": [1]}}
    header["jwk"] = client().jwk | {"kid": "x", "use": "sig", "key_ops": ["verify"], "x5c": ["x"], "alg": "ES256"}
    assert dpop.check([made(header, client().claims("POST", URL, more=[1, {"a": None}]))], AT_TOKEN).jkt == client().jkt
    assert dpop.check([made(client().header | {"typ": "application/dpop+JWT"})], AT_TOKEN).jkt == client().jkt


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=20),
        st.sampled_from(["ES256", "none", "HS256", "dpop+jwt", "EC", "RSA", "oct", "P-256", "POST", URL, "AQAB", "\0"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
MEMBERS = st.sampled_from(["typ", "alg", "jwk", "crit", "b64", "kid", "jku", "enc", "cty", ""])
KEY_MEMBERS = st.sampled_from(["kty", "crv", "x", "y", "n", "e", "d", "k", "alg", "use", "key_ops", "kid", "x5c"])
CLAIM_NAMES = st.sampled_from(["jti", "htm", "htu", "iat", "exp", "nbf", "ath", "nonce", "iss", ""])


@hypothesis.given(
    st.dictionaries(MEMBERS, JSON, max_size=2),
    st.dictionaries(KEY_MEMBERS, JSON, max_size=2),
    st.dictionaries(CLAIM_NAMES, JSON, max_size=2),
    st.sampled_from([AT_TOKEN, AT_RESOURCE]),
)
@hypothesis.settings(max_examples=400)
def test_anything_else_is_a_refusal(
    header: dict[str, Any], jwk: dict[str, Any], claims: dict[str, Any], target: Target
) -> None:
    """No content of a signed proof causes another exception."""
    members = client().header | {"jwk": client().jwk | jwk} | header
    sent = signed(client().key, members, client().claims("POST", URL) | claims)
    with contextlib.suppress(InvalidDPoPProofError):
        assert dpop.check([sent], target).jkt


@hypothesis.given(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=100), st.integers(0, 5))
@hypothesis.settings(max_examples=200)
def test_any_bytes_are_a_refusal(header: bytes, payload: bytes, signature: bytes, valid: int) -> None:
    parts = proof().split(".")
    made_up = [encode(header), encode(payload), encode(signature)]
    refuse(".".join([*parts[: valid % 3], *made_up[valid % 3 :]]))
    refuse((header + b"." + payload + b"." + signature).decode("latin-1"))


def test_refused_in_good_time() -> None:
    """A proof costs the server little, whatever its key is."""
    numbers = [encode(b"\xff" * size) for size in (256, 512, 1024)]
    for jwk in [{"kty": "RSA", "e": e, "n": n} for n in numbers for e in ("AQAB", *numbers)]:
        one = made({"typ": "dpop+jwt", "alg": "RS256", "jwk": jwk})
        seconds = []
        for _ in range(3):
            started = time.thread_time()
            refuse(one)
            seconds.append(time.thread_time() - started)
        assert min(seconds) < 0.05


def test_a_padded_signature_is_another_token() -> None:
    header, payload, signature = proof().split(".")
    spare = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert base64.urlsafe_b64decode(spare + "==") == base64.urlsafe_b64decode(signature + "==")
    refuse(f"{header}.{payload}.{spare}")
