"""CPU time of one access token, by `idp.keys.jose` and by joserfc: ``python -m bench.jose``.

All variants are measured in turn in one process, so that the load of the machine changes the times but not the ratios.
Columns of signing: the product; joserfc's signature in our serialization; joserfc's ``serialize_compact``. Columns of
verifying: the product; joserfc's ``jwt.decode``.
"""

import statistics
import time
from collections.abc import Callable, Iterator

import msgspec
from joserfc import jws, jwt
from joserfc.jwa import JWS_ALGORITHMS
from joserfc.jwk import Key, OctKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from idp.keys import jose
from idp.keys.algorithms import SIGNING_ALGORITHMS

CLAIMS = {
    "iss": "https://id.example.com",
    "sub": "0198d1f2-7b1c-7d2e-9c3a-1f2e3d4c5b6a",
    "aud": ["https://api.example.com", "https://id.example.com"],
    "client_id": "web",
    "scope": "openid profile email offline_access",
    "iat": 1_790_000_000,
    "exp": 1_790_000_600,
    "jti": "AZjR8nscfS6cOh8uPUxbag.2f3e4d5c6b7a8f9e",
}
SECRET = bytes(range(32))
Way = Callable[[], object]


def _key(alg: str) -> tuple[Key, dict[str, str], Way, Callable[[str], object]]:
    """A key, the header of its tokens, and the product's functions that sign and verify with it."""
    if alg == "HS256":
        return (
            OctKey.import_key(SECRET),
            {"alg": alg, "typ": "rt+jwt"},
            lambda: jose.sign_symmetric(SECRET, "rt+jwt", CLAIMS),
            lambda token: jose.verify_symmetric(token, SECRET, "rt+jwt"),
        )
    key = jose.generate(alg)
    return (
        key.key,
        {"alg": alg, "kid": key.kid, "typ": "at+jwt"},
        lambda: jose.sign(key, "at+jwt", CLAIMS),
        lambda token: jose.verify(token, {key.kid: key}, "at+jwt"),
    )


def _signing(alg: str) -> list[Way]:
    model = next(model for model in JWS_ALGORITHMS if model.name == alg)
    registry = JWSRegistry(algorithms=[alg])
    key, header, ours, _ = _key(alg)
    encoded = urlsafe_b64encode(msgspec.json.encode(header))

    def signature_only() -> str:
        signed = encoded + b"." + urlsafe_b64encode(msgspec.json.encode(CLAIMS))
        return (signed + b"." + urlsafe_b64encode(model.sign(signed, key))).decode()

    return [
        ours,
        signature_only,
        lambda: jws.serialize_compact(dict(header), msgspec.json.encode(CLAIMS), key, registry=registry),
    ]


def _verifying(alg: str) -> list[Way]:
    registry = JWSRegistry(algorithms=[alg])
    key, header, _, ours = _key(alg)
    token = jws.serialize_compact(header, msgspec.json.encode(CLAIMS), key, registry=registry)
    return [lambda: ours(token), lambda: jwt.decode(token, key, registry=registry)]


def _medians(ways: list[Way], rounds: int = 60) -> Iterator[float]:
    """Return the CPU microseconds of each variant."""
    for way in ways:
        way()
    started = time.process_time()
    ways[0]()
    calls = max(10, int(0.01 / max(time.process_time() - started, 1e-5)))
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(rounds):
        for way, spent in list(zip(ways, times, strict=True))[:: 1 if turn % 2 else -1]:
            started = time.process_time()
            for _ in range(calls):
                way()
            spent.append((time.process_time() - started) / calls * 1e6)
    return map(statistics.median, times)


def main() -> None:
    for name, ways_of in (("sign", _signing), ("verify", _verifying)):
        for alg in (*SIGNING_ALGORITHMS, "HS256"):
            first, *others = _medians(ways_of(alg))
            print(f"{name:6} {alg:8} {first:6.1f} µs", *(f"{other:6.1f} µs ({other / first:.2f})" for other in others))


if __name__ == "__main__":
    main()
