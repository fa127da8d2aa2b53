"""Every attack in the list has tests, and each test names its attack."""

import ast
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

#: The classes of attack, by the numbers in the names of the tests.
ROWS = {
    1: "PKCE downgrade: the verifier left out",
    2: "PKCE downgrade: the challenge taken out",
    3: "lenient matching of redirect URIs",
    4: "URLs matched by prefix or substring",
    5: "URI schemes that run scripts: javascript:, data:",
    6: "markup reflected in pages",
    7: "open redirects",
    8: "errors sent to an address that was not validated",
    9: "parameter pollution",
    10: "requests tampered with on restart, back or reload",
    11: "authorization codes replayed, and raced",
    12: "refresh tokens raced",
    13: "rotation lost on restart",
    14: "disabled users and clients that keep their tokens",
    15: "sessions that outlive their end",
    16: "a not-before time that a validator ignores",
    17: "scope escalation",
    18: "devices that get access by weaker rules, and user codes guessed",
    19: "expiry that only a clean-up enforces",
    20: "proofs of an address used for another purpose",
    21: "accounts prepared by an attacker before their owner registers",
    22: "protected fields set by mass assignment",
    23: "tokens of upstream providers that are not validated completely",
    24: "callbacks of upstream providers, replayed and swapped",
    25: "steps of a sign-in skipped, repeated and reordered",
    26: "unfinished sign-ins",
    27: "codes sent to, or used for, another address",
    28: "codes guessed and replayed",
    29: "passkeys without user verification, or replayed",
    30: "users enumerated by messages",
    31: "users enumerated by timing",
    32: "links poisoned by the Host header",
    33: "spoofed client addresses",
    34: "identity taken from a header",
    35: "calls to our own network",
    36: "algorithm confusion",
    37: "keys in the header of a token",
    38: "hash claims that fail open",
    39: "JOSE that exhausts the server",
    40: "access tokens, codes and DPoP proofs that somebody else uses",
    41: "client assertions replayed, for another audience, or malformed",
    42: "lenient handling of client secrets",
    43: "mangled and truncated tokens",
    44: "secrets that can be read back",
    45: "privilege escalation of delegated admins",
    46: "a set-up or an invitation used twice, or without its link",
    47: "mailed links consumed by link scanners",
    48: "spellings of an address that collide",
    49: "credentials changed by an old session",
    50: "session fixation and swapped cookies",
    51: "cross-site request forgery, of the log-in too",
    52: "CORS with opaque origins",
    53: "mail bombing",
    54: "NUL, unusual characters and types that cause a 5xx",
    55: "client ID metadata documents: cache growth, amplification, odd URLs",
    56: "logos that are more than images",
    57: "consent skipped or leaked",
    58: "mix-up of authorization servers",
    59: "proofs of one value that are used for another",
    60: "authority decided before the body is read",
    61: "claims requested by name beyond scopes and consent",
    62: "limits used up by strangers and by refused requests",
    63: "slow bodies and idle connections",
    64: "remedies that harm other users",
    65: "a required level skipped by requesting a higher one",
    66: "expensive work before the length, the proof or the count is checked",
    67: "artefacts that outlive a change of credentials",
    68: "an old sign-in at a provider that counts as recent",
    69: "consent remembered as a product of scopes and resources",
    70: "state rolled back by a restore or a lagging replica",
    71: "caches that are not reloaded",
    72: "text injected into mails and consoles",
    73: "frames at sign-out that widen the content policy",
    74: "access to an application that was withdrawn, by what was given before",
    75: "a name or a password that means something else to a directory",
    76: "administrators of one organisation who reach into another",
    77: "upstreams of organisations that speak for others, and ways around an enforced domain",
}


def names_in(path: Path) -> list[str]:
    """The test functions that pytest collects from a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bodies = [
        tree.body,
        *(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name[:4] == "Test"),
    ]
    return [
        node.name
        for body in bodies
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


FILES = {path.name: names_in(path) for path in sorted(FOLDER.glob("test_*.py")) if path != Path(__file__)}


@pytest.mark.parametrize("row", ROWS, ids=ROWS.get)
def test_every_row_has_a_test(row: int) -> None:
    prefix = f"test_{row:02}_"
    assert [name for tests in FILES.values() for name in tests if name.startswith(prefix)]


@pytest.mark.parametrize("file", FILES)
def test_every_test_carries_the_number_of_its_file(file: str) -> None:
    number = re.match(r"test_(\d\d)_[a-z0-9_]+\.py$", file)
    assert number is not None, f"{file} is not named test_NN_<name>.py"
    assert FILES[file], f"{file} holds no tests"
    assert [name for name in FILES[file] if not name.startswith(f"test_{number[1]}_")] == []
