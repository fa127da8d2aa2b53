"""Password hashes of other systems: verified, limited in cost, and replaced at the next sign-in."""

from base64 import b64encode
from contextlib import suppress
from itertools import count

import bcrypt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idp.accounts import imported_hashes
from idp.accounts.imported_hashes import UnsupportedHashError, validate
from idp.accounts.passwords import needs_rehash, verify_password
from idp.accounts.repository.users import user_by_email
from idp.accounts.tables import User
from tests.conftest import MakeUser
from tests.support.browser import Browser, Page
from tests.support.imports import PASSWORD
from tests.support.imports import foreign_hashes as make_hashes

pytestmark = pytest.mark.fault(30)
HASHES = make_hashes()
#: Published hashes, or hashes made by the frameworks themselves, each with its password.
KNOWN = [
    # The tests of Openwall's crypt_blowfish, from which bcrypt libraries are built.
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    # passlib's documentation.
    ("password", "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44"),
    ("password", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"),
    # Django's tests.
    ("lètmein", "pbkdf2_sha256$1000000$seasalt$r1uLUxoxpP2Ued/qxvmje7UH9PUJBkRrvf9gGPL7Cps="),
    (
        "lètmein",
        "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
    ),
    # The tests of Ory Kratos.
    (
        "test",
        "$scrypt$ln=16384,r=8,p=1$2npRo7P03Mt8keSoMbyD/tKFWyUzjiQf2svUaNDSrhA=$MiCzNcIplSMqSBrm4HckjYqYhaVPPjTARTzwB1cVNYE=",
    ),
    # The description of Firebase's scrypt.
    (
        "user1password",
        "$firescrypt$ln=14,r=8,p=1$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ==$Bw==$jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==",
    ),
    # The description of SHA-crypt, and crypt(3).
    (
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        "Hello world!",
        "{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    ("Hello world!", "$5$rounds=1500$saltstring$D63kPPZfQyB6jAlsFazZTPyZPFM2yxY20uxMg9lLjy/"),
    # phpass.
    ("test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    ("test12345", "$H$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    # RFC 9106 and the tests of its reference implementation.
    ("password", "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8"),
    ("password", "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"),
]


@pytest.mark.parametrize("kind", HASHES)
async def test_only_the_password_itself_verifies(kind: str) -> None:
    stored = HASHES[kind]
    stored = validate(stored)
    assert needs_rehash(stored)
    assert await verify_password(stored, PASSWORD)
    for other in ("", PASSWORD[:-1], PASSWORD + " ", PASSWORD.upper(), PASSWORD + "\0", PASSWORD + "\ud800"):
        assert not await verify_password(stored, other)


@pytest.mark.parametrize(("password", "stored"), KNOWN, ids=[stored[:20] for _, stored in KNOWN])
async def test_published_hashes(password: str, stored: str) -> None:
    stored = validate(stored)
    assert await verify_password(stored, password)
    assert not await verify_password(stored, password + "!")


async def test_bcrypt_looks_at_72_bytes() -> None:
    """The system that made the hash dropped the rest, perhaps in the middle of a character."""
    long = "ä" * 35 + "aé" + "and more"
    stored = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    assert await verify_password(stored, long)
    assert await verify_password(stored, long + "!")
    assert not await verify_password(stored, "ä" * 35 + "bé" + "and more")


async def test_the_password_is_tried_as_it_was_typed() -> None:
    """Few systems normalise. Ours does, and so did some."""
    typed, normalised = "\ufb01ve wizards", "five wizards"
    for made_of in (typed, normalised):
        for stored in map(validate, make_hashes(made_of).values()):
            assert await verify_password(stored, typed)
            assert await verify_password(stored, normalised) is (made_of == normalised)


SALT, DIGEST = "c2FsdHNhbHRzYWx0", "A" * 43


@pytest.mark.parametrize(
    "stored",
    [
        "$2b$15$" + "C" * 21 + "." + "C" * 31,
        "$2b$31$" + "C" * 21 + "." + "C" * 31,
        f"pbkdf2_sha256$2000001$salt${DIGEST}=",
        f"pbkdf2_sha1$999999999$salt${DIGEST}=",
        f"$pbkdf2$1000000${SALT}${'A' * 86}",  # four blocks of SHA-1
        f"$pbkdf2-sha512$2000001${SALT}${DIGEST}",
        f"pbkdf2:sha256:2000001$salt${'0f' * 32}",
        f"$scrypt$ln=18,r=8,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=999999999,r=8,p=1${SALT}${DIGEST}",
        f"$scrypt$ln=14,r=8,p=17${SALT}${DIGEST}",
        f"$scrypt$ln=4,r=999999999,p=1${SALT}${DIGEST}",
        f"scrypt:262144:8:1$salt${'0f' * 64}",
        "$6$rounds=1000001$salt$" + "a" * 86,
        "$5$rounds=999999999$salt$" + "a" * 43,
        "{CRYPT}$6$rounds=1000001$salt$" + "a" * 86,
        "$P$H" + "a" * 30,
        f"$pbkdf2-sha256$i=2000001${SALT}${DIGEST}",
        f"{{PBKDF2-SHA512}}2000001${SALT}${DIGEST}",
        f"scrypt$262144$salt$8$1${DIGEST}=",
        f"$firescrypt$ln=18,r=8,p=1${SALT}${DIGEST}$Bw==${DIGEST}",
        f"$scrypt$ln=1048576,r=8,p=1${SALT}${DIGEST}",
        "$wp$2y$15$" + "C" * 21 + "." + "C" * 31,
        "bcrypt_sha256$$2b$15$" + "C" * 21 + "." + "C" * 31,
        b64encode(b"\x01" + (2).to_bytes(4) + (2_000_001).to_bytes(4) + (16).to_bytes(4) + b"s" * 48).decode(),
        f"$argon2id$v=19$m=262145,t=1,p=1${SALT}${DIGEST}",
        f"$argon2id$v=19$m=262144,t=5,p=1${SALT}${DIGEST}",
        f"$argon2i$v=19$m=8,t=999999999,p=1${SALT}${DIGEST}",
        f"$argon2d$v=19$m=65536,t=1,p=17${SALT}${DIGEST}",
    ],
)
async def test_expensive_hashes_are_refused(stored: str) -> None:
    with pytest.raises(UnsupportedHashError, match="more work than is allowed"):
        validate(stored)
    if not stored.startswith("$argon2"):
        assert not await verify_password(stored, PASSWORD)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "!",
        "plain password",
        "5f4dcc3b5aa765d61d8327deb882cf99",
        "$1$salt$qJH7.N4xYta3aEG/dfqo/0",
        "$2x$" + HASHES["bcrypt"][4:],
        HASHES["bcrypt"] + "\n",
        HASHES["bcrypt"][:-1],
        "$2b$04$" + "a" * 53,
        "md5$salt$" + "0f" * 16,
        "{CRYPT}abcdefghijklm",
        "{SHA}" + b64encode(b"d" * 20).decode(),
        "{SSHA}" + b64encode(b"d" * 22).decode(),
        "{SSHA512}" + b64encode(b"d" * 20).decode(),
        "x{BCRYPT}" + HASHES["bcrypt"],
        "{BCRYPT}{BCRYPT}" + HASHES["bcrypt"],
        "{MD5}" + b64encode(b"d" * 16).decode(),
        "$P$$" + "a" * 30,
        "$6$rounds=5000$" + "s" * 17 + "$" + "a" * 86,
        f"$pbkdf2-sha256$i=1000,l=31${SALT}${DIGEST}",
        b64encode(b"\x01" + (3).to_bytes(4) + (1000).to_bytes(4) + (16).to_bytes(4) + b"s" * 48).decode(),
        b64encode(b"\x01" + (2).to_bytes(4) + (1000).to_bytes(4) + (99999).to_bytes(4) + b"s" * 48).decode(),
        f"pbkdf2_md5$1000$salt${DIGEST}=",
        "pbkdf2_sha256$1000$salt$====",
        "pbkdf2_sha256$1000$salt$AAAA",
        "pbkdf2_sha256$1000$salt$" + "A" * 400,
        f"pbkdf2_sha256$0$salt${DIGEST}=",
        f"pbkdf2_sha256$-1$salt${DIGEST}=",
        f"pbkdf2_sha256$\u0661\u0660$salt${DIGEST}=",
        "pbkdf2:sha256:1000$salt$0f0",
        f"$scrypt$ln=0,r=8,p=1${SALT}${DIGEST}",
        f"scrypt:15:8:1$salt${'0f' * 64}",
        f"scrypt:1:8:1$salt${'0f' * 64}",
        "$argon2id$",
        f"$argon2x$v=19$m=64,t=1,p=1${SALT}${DIGEST}",
        f"$argon2id$v=18$m=64,t=1,p=1${SALT}${DIGEST}",
        f"$argon2id$v=19$m=8,t=1,p=2${SALT}${DIGEST}",
        f"$argon2id$v=19$m=64,t=1,p=1$AAAA${DIGEST}",
        f"$argon2id$v=19$m=64,t=1,p=1${SALT}${DIGEST}=",
        f"$argon2id$v=19$m=64,t=1,p=1${SALT}$AAAA",
        HASHES["argon2 ID"] + "A" * 1100,
    ],
    ids=count(),
)
async def test_invalid_hashes_are_refused(stored: str) -> None:
    with pytest.raises(UnsupportedHashError, match=r"^[A-Z].*\.$"):
        validate(stored)
    if not stored.startswith("$argon2"):
        assert not await verify_password(stored, PASSWORD)


@settings(max_examples=300)
@given(st.sampled_from(list(HASHES.values())), st.data())
def test_a_mangled_hash_matches_no_password(stored: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(stored) - 1))
    mangled = stored[:at] + data.draw(st.characters(codec="utf-8")) + stored[at + data.draw(st.integers(0, 3)) :]
    with suppress(UnsupportedHashError):
        validate(mangled)
    if not mangled.startswith("$argon2"):
        imported_hashes.verify(mangled, b"another password")


@pytest.mark.parametrize("kind", ["bcrypt", "django pbkdf2 sha256", "werkzeug scrypt", "argon2 I"])
async def test_a_sign_in_replaces_the_hash(kind: str, make_user: MakeUser, browser: Browser) -> None:
    user = await with_hash(await make_user(None), HASHES[kind])
    assert "session" not in await sign_in(browser, user.email, "another password")
    assert await hash_of(user.email) == HASHES[kind]
    assert "session" in await sign_in(browser, user.email, PASSWORD)
    replaced = await hash_of(user.email)
    assert replaced.startswith("$argon2id$")
    assert not needs_rehash(replaced)
    assert await verify_password(replaced, PASSWORD)


async def test_a_short_password_from_elsewhere_signs_in_too(make_user: MakeUser, browser: Browser) -> None:
    user = await with_hash(await make_user(None), bcrypt.hashpw(b"old", bcrypt.gensalt(4)).decode())
    assert "session" in await sign_in(browser, user.email, "old")
    assert await verify_password(await hash_of(user.email), "old")


async def with_hash(user: User, password_hash: str) -> User:
    user.password_hash = password_hash
    await user.save()
    return user


async def hash_of(email: str) -> str:
    user = await user_by_email(email)
    assert user is not None
    return user.password_hash or ""


async def sign_in(browser: Browser, email: str, password: str) -> set[str]:
    """Sign in at the page. Returns the cookies, less their prefixes."""
    page = await browser.get("/login")
    assert isinstance(page, Page)
    await browser.sign_in(page, email, password)
    return {name.rpartition("-")[2] for name in browser.cookies}
