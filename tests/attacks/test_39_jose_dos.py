"""Row 39: tokens that cost much more to refuse than to send."""

import inspect
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from idp.keys import jose
from idp.keys.algorithms import PROOF_ALGORITHMS, SECRET_ALGORITHMS, VERIFICATION_ALGORITHMS
from idp.keys.jose import InvalidJWTError
from tests.support.tokens import CLAIMS, encode, key, signed, unsigned

#: The limit that the row states. An idle machine needs a hundredth of it.
LIMIT_SECONDS = 0.05

KEY = key("ES256")
KEYS = {KEY.kid: KEY}
HEADER = {"alg": "ES256", "kid": KEY.kid, "typ": "JWT"}
MEGABYTE = 1024 * 1024
SECRET = bytes(range(32))


def _with_header(header: Any) -> str:
    return f"{unsigned(header)}.{encode(bytes(64))}"


def _nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return b'{"a":' + opening * depth + closing * depth + b"}"


TOKENS: dict[str, Callable[[], str]] = {
    "1 MB header": lambda: _with_header(HEADER | {"kid": "k" * MEGABYTE}),
    "1 MB payload": lambda: signed(KEY, HEADER, CLAIMS | {"x": "x" * MEGABYTE}),
    "1 MB signature": lambda: f"{unsigned(HEADER)}.{'A' * MEGABYTE}",
    "1 MB of dots": lambda: "." * MEGABYTE,
    "1 MB of nothing": lambda: "A" * MEGABYTE,
    "just within the size, dots": lambda: "." * jose.MAX_TOKEN_LENGTH,
    "just within the size, header": lambda: "A" * (jose.MAX_TOKEN_LENGTH - 2) + "..",
    "just within the size, signature": lambda: (
        f"{unsigned(HEADER)}." + "A" * (jose.MAX_TOKEN_LENGTH - len(unsigned(HEADER)) - 1)
    ),
    "nested header": lambda: _with_header(_nested(350)),
    "nested header, not closed": lambda: _with_header(b"[" * 760),
    "nested objects in the header": lambda: _with_header(b'{"a":' * 150),
    "nested payload": lambda: signed(KEY, HEADER, _nested(5000)),
    "nested payload, not closed": lambda: signed(KEY, HEADER, b"[" * 10000),
    "huge integer in the header": lambda: _with_header(b'{"alg":' + b"9" * 700 + b"}"),
    "huge integer in the payload": lambda: signed(KEY, HEADER, b'{"exp":' + b"9" * 11000 + b"}"),
    "not UTF-8 in the header": lambda: _with_header(b'{"kid":"\xff\xfe"}'),
    "not UTF-8 in the payload": lambda: signed(KEY, HEADER, b'{"sub":"\xc3\x28"}'),
    "UTF-16 payload": lambda: signed(KEY, HEADER, '{"sub":"alice"}'.encode("utf-16")),
    "not ASCII": lambda: "é" * jose.MAX_TOKEN_LENGTH,
    "lone surrogate": lambda: "\ud800.\ud800.\ud800",
    "password-based key, 2^31 rounds": lambda: _with_header(
        {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2**31, "p2s": "AAAAAAAAAAA"}
    ),
    "compressed JWE": lambda: (
        encode({"alg": "dir", "enc": "A128GCM", "zip": "DEF", "kid": KEY.kid})
        + f"..{encode(bytes(12))}.{encode(bytes(9000))}.{encode(bytes(16))}"
    ),
    "JWE with 2^31 rounds": lambda: (
        encode({"alg": "PBES2-HS512+A256KW", "enc": "A256GCM", "p2c": 2**31, "p2s": "AAAAAAAAAAA", "kid": KEY.kid})
        + f".{encode(bytes(40))}.{encode(bytes(12))}.{encode(bytes(100))}.{encode(bytes(16))}"
    ),
    "compressed JWS": lambda: signed(KEY, HEADER | {"zip": "DEF"}, b"{}"[:1]),
    "unknown crit": lambda: signed(KEY, HEADER | {"crit": ["exp"], "exp": 1}, b"{"),
    "many members": lambda: _with_header({f"m{at}": at for at in range(60)}),
}


def _seconds(read: Callable[[], object], may_be_read: bool = False) -> float:
    started = time.thread_time()
    try:
        read()
    except InvalidJWTError:
        return time.thread_time() - started
    assert may_be_read
    return time.thread_time() - started


#: Every function that reads a token. A new one belongs here: `test_39_every_reader_is_here` finds it.
READERS: dict[str, Callable[[str], object]] = {
    "verify": lambda token: jose.verify(token, KEYS, typ="JWT"),
    "verify_symmetric": lambda token: jose.verify_symmetric(token, SECRET, "rt+jwt"),
    "verify_foreign": lambda token: jose.verify_foreign(token, [KEY.public_jwk], VERIFICATION_ALGORITHMS),
    "verify_embedded": lambda token: jose.verify_embedded(token, "dpop+jwt", PROOF_ALGORITHMS),
    "verify_registered": lambda token: jose.verify_registered(
        token, [KEY.public_jwk] * 50, VERIFICATION_ALGORITHMS, ["jwt"]
    ),
    "verify_shared": lambda token: jose.verify_shared(token, "s" * 43, SECRET_ALGORITHMS, ["jwt"]),
    "algorithm_of": jose.algorithm_of,
    "unverified": jose.unverified,
    "unverified_claims": jose.unverified_claims,
}
#: These check no signature, so they may read a token that the others refuse.
UNVERIFIED = {"algorithm_of", "unverified", "unverified_claims"}


def test_39_every_reader_is_here() -> None:
    """A reader is a function of the package whose first parameter is a token. `encrypt` takes one of our own."""
    functions = {name: getattr(jose, name) for name in jose.__all__ if inspect.isfunction(getattr(jose, name))}
    takes_token = {name for name, one in functions.items() if next(iter(inspect.signature(one).parameters)) == "token"}
    assert takes_token == READERS.keys() | {"encrypt"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", TOKENS)
def test_39_refused_in_good_time(name: str, reader: str) -> None:
    token, read = TOKENS[name](), READERS[reader]
    # CPU time, and the best of three: the machine may be busy, but the token must not cost that time.
    assert min(_seconds(lambda: read(token), reader in UNVERIFIED) for _ in range(3)) < LIMIT_SECONDS


def test_39_huge_times_in_a_signed_token() -> None:
    claims = jose.verify(signed(KEY, HEADER, b'{"exp":' + b"9" * 4000 + b"}"), KEYS, typ="JWT")
    assert _seconds(lambda: jose.check_times(claims)) < LIMIT_SECONDS


def test_39_a_long_header_is_not_even_decoded() -> None:
    """Its members are all known, and its signature is right."""
    token = signed(KEY, HEADER | {"typ": "x" * jose.MAX_HEADER_LENGTH})
    with pytest.raises(InvalidJWTError, match="too long"):
        jose.verify(token, KEYS, typ=None)


def test_39_headers_take_bounded_memory() -> None:
    """Of long headers, full of empty lists, none is kept."""
    filler = b",".join([b"[]"] * 2900)
    headers = [encode(b'{"alg":"ES256","n":%d,"x":[%b]}' % (number, filler)) for number in range(64)]
    tracemalloc.start()
    try:
        for header in headers:
            with pytest.raises(InvalidJWTError):
                jose.verify_registered(f"{header}.e30.AAAA", [], VERIFICATION_ALGORITHMS, ("jwt",))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
