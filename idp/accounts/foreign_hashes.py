"""Password hashes that other systems made: bcrypt, PBKDF2 and scrypt, as their frameworks write them.

They verify until the next sign-in, which replaces them by ours. What it costs to verify one is bounded when it is
imported, to about two seconds and 256 MiB: it asks for its own costs, and nobody may ask so much of the server.
"""

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Callable

import bcrypt

#: Whether a password, in bytes, is the one of a hash.
Verifier = Callable[[bytes], bool]

MAX_LENGTH = 512
MAX_BCRYPT_COST = 14
MAX_PBKDF2_ITERATIONS = 2_000_000
#: N * r * 128 is the memory of scrypt in bytes, and N * r * p its time.
MAX_SCRYPT_MEMORY = 128 * 1024 * 1024
MAX_SCRYPT_WORK = 1 << 21
#: In KiB, and in KiB times passes.
MAX_ARGON2_MEMORY, MAX_ARGON2_WORK, MAX_ARGON2_LANES = 262_144, 1 << 20, 16
MIN_DIGEST, MAX_DIGEST = 16, 128

_NUMBER = "([1-9][0-9]{0,8})"
_BASE64 = "([A-Za-z0-9+/=]+)"
#: passlib leaves out the padding and writes "." for "+". Keycloak, whose hashes are easily put like that, does not.
_AB64 = "([A-Za-z0-9+/.=]+)"
_UNPADDED = "([A-Za-z0-9+/]+)"


class HashRefused(ValueError):
    """A hash is of an unknown kind, malformed, or asks for too much work: one plain sentence."""


def check(hash: str) -> None:
    """Make sure that a hash can be kept: an Argon2 one, or one that :func:`matches` can verify.

    Raises:
        HashRefused: it cannot.
    """
    if hash.startswith("$argon2"):
        _check_argon2(hash)
    else:
        _verifier(hash)


def matches(hash: str, password: bytes) -> bool:
    """Whether this is the password of a hash of another kind than Argon2. What is malformed is nobody's."""
    # To bcrypt a NUL is the end, and to HMAC NULs at the end are nothing: others would be the password, too.
    if b"\0" in password:
        return False
    try:
        return _verifier(hash)(password)
    except ValueError:
        return False


def _verifier(hash: str) -> Verifier:
    if len(hash) <= MAX_LENGTH:
        for pattern, read in _KINDS:
            if found := re.fullmatch(pattern, hash, re.ASCII):
                return read(*found.groups())
    raise HashRefused("The password hash is of no kind that is known here.")


def _check_argon2(hash: str) -> None:
    found = re.fullmatch(
        rf"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\${_UNPADDED}\${_UNPADDED}", hash
    )
    if found is None or len(hash) > MAX_LENGTH:
        raise HashRefused("The Argon2 hash is malformed.")
    memory, passes, lanes = map(int, found.groups()[:3])
    _refuse_costs(memory > MAX_ARGON2_MEMORY or memory * passes > MAX_ARGON2_WORK or lanes > MAX_ARGON2_LANES)
    if len(_decoded(found[4])) < 8 or memory < 8 * lanes:
        raise HashRefused("The Argon2 hash is malformed.")
    _digest(_decoded(found[5]))


def _bcrypt(hash: str, cost: str) -> Verifier:
    _refuse_costs(int(cost) > MAX_BCRYPT_COST)
    # bcrypt reads 72 bytes, and where this hash was made the rest was dropped without a word.
    return lambda password: bcrypt.checkpw(password[:72], hash.encode())


def _pbkdf2(algorithm: str, iterations: int, salt: bytes, digest: bytes) -> Verifier:
    expected = _digest(digest)
    # Whatever is longer than the hash function's own digest costs the iterations once more.
    blocks = -(-len(expected) // hashlib.new(algorithm).digest_size)
    _refuse_costs(iterations * blocks > MAX_PBKDF2_ITERATIONS)
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(algorithm, password, salt, iterations, len(expected)), expected
    )


def _django_pbkdf2(algorithm: str, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm, int(iterations), salt.encode(), _decoded(digest))


def _passlib_pbkdf2(algorithm: str | None, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm or "sha1", int(iterations), _decoded(salt), _decoded(digest))


def _werkzeug_pbkdf2(algorithm: str, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm, int(iterations), salt.encode(), bytes.fromhex(digest))


def _scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes) -> Verifier:
    _refuse_costs(n * r * 128 > MAX_SCRYPT_MEMORY or n * r * p > MAX_SCRYPT_WORK)
    if n < 2 or n & (n - 1):
        raise HashRefused("The scrypt hash is malformed: N is not a power of two.")
    expected = _digest(digest)
    return lambda password: hmac.compare_digest(
        hashlib.scrypt(
            password, salt=salt, n=n, r=r, p=p, maxmem=2 * MAX_SCRYPT_MEMORY, dklen=len(expected)
        ),
        expected,
    )  # fmt: skip


def _passlib_scrypt(ln: str, r: str, p: str, salt: str, digest: str) -> Verifier:
    return _scrypt(1 << min(int(ln), 32), int(r), int(p), _decoded(salt), _decoded(digest))


def _werkzeug_scrypt(n: str, r: str, p: str, salt: str, digest: str) -> Verifier:
    return _scrypt(int(n), int(r), int(p), salt.encode(), bytes.fromhex(digest))


def _decoded(text: str) -> bytes:
    try:
        text = text.rstrip("=").replace(".", "+")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise HashRefused("The password hash is malformed: it is not base64.") from error


def _digest(digest: bytes) -> bytes:
    if not MIN_DIGEST <= len(digest) <= MAX_DIGEST:
        raise HashRefused("The password hash is malformed: it is too short or too long.")
    return digest


def _refuse_costs(too_high: bool) -> None:
    if too_high:
        raise HashRefused("The password hash asks for more work than is allowed here.")


_KINDS: tuple[tuple[str, Callable[..., Verifier]], ...] = (
    (r"(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31})", _bcrypt),
    (rf"pbkdf2_(sha1|sha256|sha512)\${_NUMBER}\$([^$]+)\${_BASE64}", _django_pbkdf2),
    (rf"\$pbkdf2(?:-(sha256|sha512))?\${_NUMBER}\${_AB64}\${_AB64}", _passlib_pbkdf2),
    (rf"pbkdf2:(sha1|sha256|sha512):{_NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)", _werkzeug_pbkdf2),
    (rf"\$scrypt\$ln={_NUMBER},r={_NUMBER},p={_NUMBER}\${_AB64}\${_AB64}", _passlib_scrypt),
    (rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)", _werkzeug_scrypt),
)
