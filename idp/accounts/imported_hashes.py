"""Password hashes of other systems, in the formats of frameworks and directories.

The next sign-in replaces them with our hash. A hash contains its own cost parameters. They are checked at import, so
that verifying takes at most about two seconds and 256 MiB.
"""

import hashlib
import hmac
import re
from base64 import b64decode, b64encode
from collections.abc import Callable

import bcrypt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from idp.accounts import crypt_hashes
from idp.errors import ValidationError

#: Returns whether a password in bytes matches the hash.
Verifier = Callable[[bytes], bool]

MAX_LENGTH = 1024
MAX_BCRYPT_COST = 14
MAX_PBKDF2_ITERATIONS = 2_000_000
#: scrypt needs N * r * 128 bytes of memory, and time proportional to N * r * p.
MAX_SCRYPT_MEMORY = 128 * 1024 * 1024
MAX_SCRYPT_WORK = 1 << 21
#: Argon2: memory in KiB, memory times passes, and lanes.
MAX_ARGON2_MEMORY, MAX_ARGON2_WORK, MAX_ARGON2_LANES = 262_144, 1 << 20, 16
#: SHA-2 of crypt(3) has 5,000 rounds by default, and 656,000 in passlib. Rounds of phpass are a power of two.
MAX_CRYPT_ROUNDS, MAX_PHPASS_ROUNDS = 1_000_000, 1 << 18
MIN_DIGEST, MAX_DIGEST = 16, 128

_NUMBER = "([1-9][0-9]{0,8})"
_BASE64 = "([A-Za-z0-9+/=]+)"
#: passlib omits the padding and writes "." for "+". Hashes exported from Keycloak have padding and "+".
_AB64 = "([A-Za-z0-9+/.=]+)"
_UNPADDED = "([A-Za-z0-9+/]+)"


class UnsupportedHashError(ValidationError):
    """The hash is of an unknown kind, malformed, or too expensive. The message is one sentence."""


def validate(hash: str) -> str:
    """Check a hash and return it as it is stored, without redundant prefixes of directories and frameworks.

    Raises:
        UnsupportedHashError: it is neither an Argon2 hash nor one that :func:`verify` supports.
    """
    kept = _LDAP_PBKDF2.sub(_as_passlib, _PREFIX.sub("", hash))
    if kept.startswith("$argon2"):
        _check_argon2(kept)
    else:
        _verifier(kept)
    return kept


def _as_passlib(found: re.Match[str]) -> str:
    """Convert the PBKDF2 prefix of OpenLDAP to that of passlib. SHA-1 is the default."""
    name = (found[1] or "").lower()
    return f"$pbkdf2{'' if name in ('', '-sha1') else name}$"


def verify(hash: str, password: bytes) -> bool:
    """Return whether a password matches a hash other than Argon2. False if the hash is malformed."""
    # bcrypt stops at a NUL, and HMAC ignores trailing NULs: other passwords would match too.
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
    raise UnsupportedHashError("The password hash is of no kind that is known here.")


def _check_argon2(hash: str) -> None:
    found = re.fullmatch(
        rf"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m={_NUMBER},t={_NUMBER},p={_NUMBER}\${_UNPADDED}\${_UNPADDED}", hash
    )
    if found is None or len(hash) > MAX_LENGTH:
        raise UnsupportedHashError("The Argon2 hash is malformed.")
    memory, passes, lanes = map(int, found.groups()[:3])
    _check_cost(memory > MAX_ARGON2_MEMORY or memory * passes > MAX_ARGON2_WORK or lanes > MAX_ARGON2_LANES)
    if len(_decode_base64(found[4])) < 8 or memory < 8 * lanes:
        raise UnsupportedHashError("The Argon2 hash is malformed.")
    _check_digest(_decode_base64(found[5]))


def _bcrypt(hash: str, cost: str) -> Verifier:
    _check_cost(int(cost) > MAX_BCRYPT_COST)
    # bcrypt uses 72 bytes. The system that made the hash truncated the password silently.
    return lambda password: bcrypt.checkpw(password[:72], hash.encode())


def _pbkdf2(algorithm: str, iterations: int, salt: bytes, digest: bytes) -> Verifier:
    expected = _check_digest(digest)
    # Each block of the digest length costs all iterations again.
    blocks = -(-len(expected) // hashlib.new(algorithm).digest_size)
    _check_cost(iterations * blocks > MAX_PBKDF2_ITERATIONS)
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(algorithm, password, salt, iterations, len(expected)), expected
    )


def _django_pbkdf2(algorithm: str, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm, int(iterations), salt.encode(), _decode_base64(digest))


def _passlib_pbkdf2(algorithm: str | None, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm or "sha1", int(iterations), _decode_base64(salt), _decode_base64(digest))


def _werkzeug_pbkdf2(algorithm: str, iterations: str, salt: str, digest: str) -> Verifier:
    return _pbkdf2(algorithm, int(iterations), salt.encode(), bytes.fromhex(digest))


def _phc_pbkdf2(algorithm: str, iterations: str, length: str | None, salt: str, digest: str) -> Verifier:
    stored = _decode_base64(digest)
    if length is not None and int(length) != len(stored):
        raise UnsupportedHashError("The password hash is malformed: its length is not the one that it names.")
    return _pbkdf2(algorithm, int(iterations), _decode_base64(salt), stored)


def _aspnet_identity(text: str) -> Verifier:
    """ASP.NET Core Identity v3: marker, hash function, iterations, salt length, salt, digest."""
    data = _decode_base64(text)
    function, iterations, length = (int.from_bytes(data[at : at + 4]) for at in (1, 5, 9))
    if data[0] != 1 or function >= len(_ASPNET_FUNCTIONS) or iterations < 1 or not 8 <= length <= 64:
        raise UnsupportedHashError("The password hash is malformed.")
    return _pbkdf2(_ASPNET_FUNCTIONS[function], iterations, data[13 : 13 + length], data[13 + length :])


_ASPNET_FUNCTIONS = ("sha1", "sha256", "sha512")


def _django_bcrypt_sha256(hash: str, cost: str) -> Verifier:
    verify = _bcrypt(hash, cost)
    return lambda password: verify(hashlib.sha256(password).hexdigest().encode())


def _wordpress(hash: str, cost: str) -> Verifier:
    """WordPress since 6.8."""
    verify = _bcrypt(hash, cost)
    return lambda password: verify(b64encode(hmac.digest(b"wp-sha384", password, "sha384")))


def _phpass(cost: str, salt: str, digest: str) -> Verifier:
    rounds = 1 << crypt_hashes.ALPHABET.index(cost)
    _check_cost(rounds > MAX_PHPASS_ROUNDS)
    return lambda password: _equal(crypt_hashes.phpass(password, salt.encode(), rounds), digest)


def _sha_crypt(kind: str, rounds: str | None, salt: str, digest: str) -> Verifier:
    # The specification raises fewer rounds to 1,000.
    asked = max(int(rounds or 5000), 1000)
    _check_cost(asked > MAX_CRYPT_ROUNDS)
    name = {"5": "sha256", "6": "sha512"}[kind]
    return lambda password: _equal(crypt_hashes.sha_crypt(name, password, salt.encode(), asked), digest)


def _salted_sha(bits: str, text: str) -> Verifier:
    """Salted SHA of directories: the digest followed by the salt."""
    name = f"sha{bits or 1}"
    data, size = _decode_base64(text), hashlib.new(name).digest_size
    digest, salt = data[:size], data[size:]
    if not 4 <= len(salt) <= 64:
        raise UnsupportedHashError("The password hash is malformed: its salt is too short or too long.")
    return lambda password: hmac.compare_digest(hashlib.new(name, password + salt).digest(), digest)


def _equal(computed: str, expected: str) -> bool:
    return hmac.compare_digest(computed.encode(), expected.encode())


def _scrypt(n: int, r: int, p: int, salt: bytes, digest: bytes) -> Verifier:
    derive, expected = _scrypt_key(n, r, p, salt), _check_digest(digest)
    return lambda password: hmac.compare_digest(derive(password, len(expected)), expected)


def _scrypt_key(n: int, r: int, p: int, salt: bytes) -> Callable[[bytes, int], bytes]:
    """Return a function that derives a key of a given length from a password."""
    _check_cost(n * r * 128 > MAX_SCRYPT_MEMORY or n * r * p > MAX_SCRYPT_WORK)
    if n < 2 or n & (n - 1):
        raise UnsupportedHashError("The scrypt hash is malformed: N is not a power of two.")
    return lambda password, length: hashlib.scrypt(
        password, salt=salt, n=n, r=r, p=p, maxmem=2 * MAX_SCRYPT_MEMORY, dklen=length
    )


def _passlib_scrypt(ln: str, r: str, p: str, salt: str, digest: str) -> Verifier:
    # Ory Kratos writes N itself instead of its logarithm.
    n = 1 << int(ln) if int(ln) <= 32 else int(ln)
    return _scrypt(n, int(r), int(p), _decode_base64(salt), _decode_base64(digest))


def _django_scrypt(n: str, salt: str, r: str, p: str, digest: str) -> Verifier:
    return _scrypt(int(n), int(r), int(p), salt.encode(), _decode_base64(digest))


def _firebase_scrypt(ln: str, r: str, p: str, *rest: str) -> Verifier:
    """Firebase: the key of a password encrypts the key of the project (AES-256 in counter mode)."""
    salt, digest, separator, signer = map(_decode_base64, rest)
    derive, expected = _scrypt_key(1 << min(int(ln), 32), int(r), int(p), salt + separator), _check_digest(digest)

    def verify(password: bytes) -> bool:
        encryptor = Cipher(algorithms.AES(derive(password, 64)[:32]), modes.CTR(bytes(16))).encryptor()
        return hmac.compare_digest(encryptor.update(signer), expected)

    return verify


def _werkzeug_scrypt(n: str, r: str, p: str, salt: str, digest: str) -> Verifier:
    return _scrypt(int(n), int(r), int(p), salt.encode(), bytes.fromhex(digest))


def _decode_base64(text: str) -> bytes:
    try:
        text = text.rstrip("=").replace(".", "+")
        return b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise UnsupportedHashError("The password hash is malformed: it is not base64.") from error


def _check_digest(digest: bytes) -> bytes:
    if not MIN_DIGEST <= len(digest) <= MAX_DIGEST:
        raise UnsupportedHashError("The password hash is malformed: it is too short or too long.")
    return digest


def _check_cost(too_high: bool) -> None:
    if too_high:
        raise UnsupportedHashError("The password hash asks for more work than is allowed here.")


#: Redundant prefixes of directories and of Django.
_PREFIX = re.compile(r"\A(?:(?i:\{(?:CRYPT|BCRYPT|ARGON2)\}(?=\$))|argon2(?=\$argon2)|bcrypt\$(?=\$2))")
_LDAP_PBKDF2 = re.compile(r"\A(?i:\{PBKDF2(-SHA1|-SHA256|-SHA512)?\})(?=[0-9])")
_BCRYPT = r"(\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{21}[.Oeu][./A-Za-z0-9]{31})"
_CRYPT64 = "[./A-Za-z0-9]"

_KINDS: tuple[tuple[str, Callable[..., Verifier]], ...] = (
    (_BCRYPT, _bcrypt),
    (rf"bcrypt_sha256\${_BCRYPT}", _django_bcrypt_sha256),
    (rf"\$wp{_BCRYPT}", _wordpress),
    (rf"pbkdf2_(sha1|sha256|sha512)\${_NUMBER}\$([^$]+)\${_BASE64}", _django_pbkdf2),
    (rf"\$pbkdf2(?:-(sha256|sha512))?\${_NUMBER}\${_AB64}\${_AB64}", _passlib_pbkdf2),
    (rf"pbkdf2:(sha1|sha256|sha512):{_NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)", _werkzeug_pbkdf2),
    (
        rf"\$pbkdf2-(sha1|sha256|sha512)\$(?:v=1\$)?i={_NUMBER}(?:,l={_NUMBER})?\${_UNPADDED}\${_UNPADDED}",
        _phc_pbkdf2,
    ),
    (r"(AQAAA[A-Za-z0-9+/]{40,240}={0,2})", _aspnet_identity),
    (rf"\$[PH]\$({_CRYPT64})({_CRYPT64}{{8}})({_CRYPT64}{{22}})", _phpass),
    (rf"\$(6)\$(?:rounds={_NUMBER}\$)?([^$]{{1,16}})\$({_CRYPT64}{{86}})", _sha_crypt),
    (rf"\$(5)\$(?:rounds={_NUMBER}\$)?([^$]{{1,16}})\$({_CRYPT64}{{43}})", _sha_crypt),
    (rf"\{{(?i:SSHA)(256|384|512)?\}}{_BASE64}", _salted_sha),
    (rf"scrypt\${_NUMBER}\$([^$]+)\${_NUMBER}\${_NUMBER}\${_BASE64}", _django_scrypt),
    (
        rf"\$firescrypt\$ln={_NUMBER},r={_NUMBER},p={_NUMBER}\${_BASE64}\${_BASE64}\${_BASE64}\${_BASE64}",
        _firebase_scrypt,
    ),
    (rf"\$scrypt\$ln={_NUMBER},r={_NUMBER},p={_NUMBER}\${_AB64}\${_AB64}", _passlib_scrypt),
    (rf"scrypt:{_NUMBER}:{_NUMBER}:{_NUMBER}\$([^$]+)\$((?:[0-9a-f]{{2}})+)", _werkzeug_scrypt),
)
