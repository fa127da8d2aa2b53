"""The hashes of crypt(3) and phpass: thousands of rounds of a fast hash function.

Neither hashlib nor cryptography has them, Python 3.13 removed its module, and maintained libraries use the same loops
in Python. The caller limits the rounds.
"""

import hashlib
from itertools import cycle, islice

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: By hash function: the step between groups of three bytes in the encoded digest, and the number of bytes in groups.
_STEPS = {"sha512": (22, 63), "sha256": (21, 30)}


def _little_endian(value: int, length: int) -> str:
    return "".join(ALPHABET[value >> 6 * at & 63] for at in range(length))


def phpass(password: bytes, salt: bytes, rounds: int) -> str:
    """Return the 22 characters of a portable phpass hash: ``rounds`` times MD5."""
    digest = hashlib.md5(salt + password, usedforsecurity=False).digest()
    for _ in range(rounds):
        digest = hashlib.md5(digest + password, usedforsecurity=False).digest()
    groups = (digest[at : at + 3] for at in range(0, 16, 3))
    return "".join(_little_endian(int.from_bytes(group, "little"), len(group) + 1) for group in groups)


def sha_crypt(name: str, password: bytes, salt: bytes, rounds: int) -> str:
    """Return the digest of sha512-crypt or sha256-crypt (https://www.akkadia.org/drepper/SHA-crypt.txt, steps 1 to 22).

    Args:
        name: sha512 or sha256.
    """
    new = getattr(hashlib, name)
    alternate = new(password + salt + password).digest()
    mixed = new(password + salt + _repeated(alternate, len(password)))
    length = len(password)
    while length:
        mixed.update(alternate if length & 1 else password)
        length >>= 1
    digest = mixed.digest()
    p = _repeated(new(password * len(password)).digest(), len(password))
    s = _repeated(new(salt * (16 + digest[0])).digest(), len(salt))
    for number in range(rounds):
        odd = number & 1
        parts = p if odd else digest
        if number % 3:
            parts += s
        if number % 7:
            parts += p
        digest = new(parts + (digest if odd else p)).digest()
    return _encoded(name, digest)


def _repeated(data: bytes, length: int) -> bytes:
    return bytes(islice(cycle(data), length))


def _encoded(name: str, digest: bytes) -> str:
    """Encode a digest: groups of three bytes in a fixed permutation, then the remaining bytes."""
    step, places = _STEPS[name]
    text = []
    group = [0, places // 3, 2 * places // 3]
    for _ in range(places // 3):
        a, b, c = (digest[place] for place in group)
        text.append(_little_endian(a << 16 | b << 8 | c, 4))
        group = [(place + step) % places for place in group]
    rest = digest[: places - 1 : -1]
    return "".join(text) + _little_endian(int.from_bytes(rest), len(rest) + 1)
