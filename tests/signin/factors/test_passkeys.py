"""Passkeys: registration, use, and every kind of invalid response."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import cbor2
import pytest

from idp.accounts.tables import User
from idp.infra.db.engine import fetch, fetchrow
from idp.signin.factors import passkeys
from idp.signin.factors.passkey_providers import provider, providers
from idp.signin.factors.passkeys import InvalidPasskeyError, VerifiedPasskey
from idp.signin.tables import Passkey
from tests.conftest import MakeUser
from tests.support.authenticator import EDDSA, ES256, RS256, Authenticator, decode, encode

CHALLENGE = b"a challenge of thirty-two bytes.."


async def _register(user: User, device: Authenticator, name: str = "") -> Passkey:
    options = passkeys.registration_options(user, CHALLENGE, await passkeys.passkeys_of(user.id))
    return await passkeys.register(user.id, name, CHALLENGE, device.create(options))


async def _verify(device: Authenticator, user_id: UUID | None = None, **arguments: Any) -> VerifiedPasskey:
    options = passkeys.authentication_options(CHALLENGE)
    return await passkeys.verify(CHALLENGE, device.get(options), user_id=user_id, **arguments)


@pytest.fixture
async def device(alice: User) -> Authenticator:
    """An authenticator with a passkey of Alice's."""
    device = Authenticator()
    await _register(alice, device)
    return device


# Options for the browser


async def test_asking_for_a_new_one(alice: User, device: Authenticator) -> None:
    own = await passkeys.passkeys_of(alice.id)
    options = json.loads(passkeys.registration_options(alice, CHALLENGE, own))
    assert options["rp"] == {"id": "localhost", "name": "idp"}
    assert UUID(bytes=decode(options["user"]["id"])) == alice.id
    assert (options["user"]["name"], options["user"]["displayName"]) == (alice.email, "Alice Example")
    assert decode(options["challenge"]) == CHALLENGE
    assert [item["alg"] for item in options["pubKeyCredParams"]] == [EDDSA, ES256, RS256]
    assert options["attestation"] == "none"
    selection = options["authenticatorSelection"]
    assert (selection["residentKey"], selection["requireResidentKey"]) == ("required", True)
    assert selection["userVerification"] == "required"
    assert options["excludeCredentials"] == [
        {"id": encode(device.credential_id), "type": "public-key", "transports": ["hybrid", "internal"]}
    ]


async def test_asking_for_any_or_for_those_of_a_user(alice: User, device: Authenticator) -> None:
    anyones = json.loads(passkeys.authentication_options(CHALLENGE))
    assert anyones["allowCredentials"] == []
    assert anyones["userVerification"] == "required"
    assert (anyones["rpId"], decode(anyones["challenge"])) == ("localhost", CHALLENGE)
    hers = json.loads(passkeys.authentication_options(CHALLENGE, await passkeys.passkeys_of(alice.id)))
    assert [item["id"] for item in hers["allowCredentials"]] == [encode(device.credential_id)]


# Valid responses


@pytest.mark.parametrize("alg", [ES256, EDDSA, RS256])
@pytest.mark.parametrize("known", [True, False])
async def test_making_and_using_one(alice: User, alg: int, known: bool) -> None:
    device = Authenticator(alg=alg, count=7)
    made = await _register(alice, device, "My phone")
    assert (made.name, made.sign_count, made.last_used_at) == ("My phone", 7, None)
    verified = await _verify(device, alice.id if known else None)
    assert verified == VerifiedPasskey(alice.id, made.id, user_verified=True, backup_eligible=True)
    (kept,) = await passkeys.passkeys_of(alice.id)
    assert kept.sign_count == 8
    assert kept.last_used_at is not None


@pytest.mark.parametrize(("synced", "methods"), [(True, ["swk", "user"]), (False, ["hwk", "user"])])
async def test_amr_tells_software_from_hardware(alice: User, synced: bool, methods: list[str]) -> None:
    device = Authenticator(backup_eligible=synced, backed_up=False)
    made = await _register(alice, device)
    assert made.backup_eligible is synced
    assert passkeys.amr(await _verify(device)) == methods


async def test_user_verification_where_the_caller_does_without(device: Authenticator) -> None:
    verified = await _verify(device.but(user_verified=False), require_user_verification=False)
    assert not verified.user_verified


async def test_a_security_key_names_no_user_when_it_is_known(alice: User, device: Authenticator) -> None:
    for handle in (None, b""):
        assert (await _verify(device.but(user_handle=handle), alice.id)).user_id == alice.id


# Invalid responses

WRONG: dict[str, dict[str, Any]] = {
    "challenge": {"challenge": b"of another flow"},
    "no challenge": {"challenge": b""},
    "origin": {"origin": "http://localhost:8001"},
    "origin with a slash": {"origin": "http://localhost:8000/"},
    "origin of a phisher": {"origin": "https://localhost.example.com"},
    "origin as a list": {"origin": ["http://localhost:8000"]},
    "rp id": {"rp_id": "example.com"},
    "nobody present": {"user_present": False},
    "nobody verified": {"user_verified": False},
    "backed up but not eligible": {"backup_eligible": False},
    "framed": {"client_data": {"crossOrigin": True}},
    "type": {"type": "payment.get"},
}


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
async def test_wrong_claims_about_a_new_one(alice: User, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _register(alice, Authenticator().but(**claims))
    assert await passkeys.passkeys_of(alice.id) == []


@pytest.mark.parametrize("claims", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("known", [True, False])
async def test_wrong_claims_about_a_known_one(
    alice: User, device: Authenticator, claims: dict[str, Any], known: bool
) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _verify(device.but(**claims), alice.id if known else None)
    assert (await passkeys.passkeys_of(alice.id))[0].last_used_at is None
    assert await _verify(device)


async def test_a_new_one_is_no_sign_in_and_the_other_way_round(alice: User, device: Authenticator) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _verify(device.but(type="webauthn.create"))
    with pytest.raises(InvalidPasskeyError):
        await _register(alice, Authenticator(type="webauthn.get"))


async def test_backup_eligibility_cannot_change(device: Authenticator) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _verify(device.but(backup_eligible=False, backed_up=False))


@pytest.mark.parametrize("part", ["signature", "authenticatorData", "clientDataJSON"])
async def test_each_part_is_signed(device: Authenticator, part: str) -> None:
    answer = json.loads(device.get(passkeys.authentication_options(CHALLENGE)))
    data = bytearray(decode(answer["response"][part]))
    # Another space is the same JSON, and the low bit of the counter leaves the flags, but the signed bytes differ.
    answer["response"][part] = encode(bytes(data) + b" ") if part == "clientDataJSON" else encode(_flip(data))
    with pytest.raises(InvalidPasskeyError):
        await passkeys.verify(CHALLENGE, json.dumps(answer), user_id=None)


def _flip(data: bytearray) -> bytes:
    data[-1] ^= 1
    return bytes(data)


@pytest.mark.parametrize("alg", [ES256, EDDSA, RS256])
async def test_a_signature_of_another_key(alice: User, alg: int) -> None:
    device = Authenticator(alg=alg)
    await _register(alice, device)
    with pytest.raises(InvalidPasskeyError):
        await _verify(device.but(key=Authenticator(alg=alg).key))


async def test_an_unknown_one(alice: User, device: Authenticator) -> None:
    for user_id in (None, alice.id):
        with pytest.raises(InvalidPasskeyError, match="is unknown"):
            await _verify(device.but(credential_id=secrets.token_bytes(16)), user_id)


async def test_a_passkey_of_another_user(device: Authenticator, make_user: MakeUser) -> None:
    bob = await make_user()
    with pytest.raises(InvalidPasskeyError, match="another account"):
        await _verify(device, bob.id)


@pytest.mark.parametrize("handle", [None, b"", b"\0" * 16, b"\1" * 16, b"x" * 64])
async def test_a_discoverable_one_must_name_its_owner(device: Authenticator, handle: bytes | None) -> None:
    with pytest.raises(InvalidPasskeyError, match="another account"):
        await _verify(device.but(user_handle=handle))


async def test_a_known_user_must_not_be_named_as_another(alice: User, device: Authenticator) -> None:
    with pytest.raises(InvalidPasskeyError, match="another account"):
        await _verify(device.but(user_handle=uuid4().bytes), alice.id)


# The signature counter


def _bound(count: int = 0) -> Authenticator:
    """One that never leaves its device."""
    return Authenticator(count=count, backup_eligible=False, backed_up=False)


async def _clones(user: User) -> int:
    return len(await fetch("SELECT 1 FROM audit_event WHERE event = 'passkey_cloned' AND user_id = $1", user.id))


@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_counter_that_does_not_grow_tells_of_a_copy(alice: User, count: int) -> None:
    device = _bound(count=5)
    await _register(alice, device)
    with pytest.raises(InvalidPasskeyError, match="copy"):
        await _verify(device.but(count=count))
    assert await _clones(alice) == 1
    assert (await passkeys.passkeys_of(alice.id))[0].sign_count == 5
    assert await _verify(device)


@pytest.mark.fault(25)
@pytest.mark.parametrize("count", [0, 1, 5])
async def test_a_synced_passkey_may_count_on_each_device(alice: User, count: int) -> None:
    """It is recorded and accepted: each device may have its own counter, or none."""
    device = Authenticator(count=5)
    await _register(alice, device)
    assert await _verify(device.but(count=count))
    assert await _clones(alice) == 0
    (row,) = await fetch("SELECT detail FROM audit_event WHERE event = 'passkey_count_fell' AND user_id = $1", alice.id)
    assert (f'"before": {5}' in row["detail"], f'"count": {count}' in row["detail"]) == (True, True)
    assert await _verify(device.but(count=6))
    assert (
        len(await fetch("SELECT 1 FROM audit_event WHERE event = 'passkey_count_fell' AND user_id = $1", alice.id)) == 1
    )


async def test_those_that_do_not_count(alice: User) -> None:
    device = _bound()
    await _register(alice, device)
    for _ in range(3):
        assert await _verify(device)
    assert await _verify(device.but(count=1))
    with pytest.raises(InvalidPasskeyError, match="copy"):
        await _verify(device)
    assert await _clones(alice) == 1


async def test_the_largest_count(device: Authenticator) -> None:
    assert await _verify(device.but(count=2**32 - 1))


async def test_one_answer_sent_twenty_times_counts_once(alice: User) -> None:
    device = _bound(count=1)
    await _register(alice, device)
    answer = device.get(passkeys.authentication_options(CHALLENGE))
    results = await asyncio.gather(
        *(passkeys.verify(CHALLENGE, answer, user_id=None) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, VerifiedPasskey) for result in results) == 1
    assert sum(isinstance(result, InvalidPasskeyError) for result in results) == 19


# Malformed responses

GARBAGE = [
    "",
    "null",
    "[]",
    "0",
    '"text"',
    "{}",
    "{",
    "\0",
    "\ud800",
    '{"id": 1}',
    "[" * 19_000,
    '{"a":' * 3_000,
    "9" * 10_000,
    "NaN",
    '{"id": "", "rawId": "", "type": "public-key", "response": {}}',
    '{"id": "AA", "rawId": "AA", "type": "public-key", "response": []}',
    '{"id": "\\ud800", "rawId": "é", "type": "public-key", "response": {"clientDataJSON": "\\ud800"}}',
    " " * 5_000_000,
    '{"id": "' + "A" * 5_000_000 + '"}',
]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage(alice: User, text: str) -> None:
    with pytest.raises(InvalidPasskeyError):
        await passkeys.register(alice.id, "", CHALLENGE, text)
    with pytest.raises(InvalidPasskeyError):
        await passkeys.verify(CHALLENGE, text, user_id=None)


VALUES: list[Any] = [None, 0, True, "", "é", "AA", "A" * 15_000, [], {}, ["AA"], {"AA": 1}, "\ud800", "AA\0AA"]


#: Members that do not affect the verification.
OPTIONAL = {"authenticatorAttachment", "clientExtensionResults", "transports", "userHandle"}


def _make(user: User) -> str:
    return Authenticator(alg=EDDSA).create(passkeys.registration_options(user, CHALLENGE, []))


async def test_every_member_of_a_new_one_replaced_by_every_kind_of_value(alice: User) -> None:
    """It is accepted or refused; nothing else comes of it."""
    for value in VALUES:
        for name, answer in _replaced(_make(alice), value):
            try:
                made = await passkeys.register(alice.id, "", CHALLENGE, answer)
            except InvalidPasskeyError:
                continue
            assert name in OPTIONAL, value
            await passkeys.remove(alice.id, made.id)


async def test_every_member_of_an_answer_replaced_by_every_kind_of_value(alice: User, device: Authenticator) -> None:
    for value in VALUES:
        for name, answer in _replaced(device.get(passkeys.authentication_options(CHALLENGE)), value):
            try:
                await passkeys.verify(CHALLENGE, answer, user_id=alice.id)
            except InvalidPasskeyError:
                continue
            assert name in OPTIONAL, value


def _replaced(answer: str, value: object) -> Iterator[tuple[str, str]]:
    """The answer with each of its members in turn replaced by the value."""
    members = json.loads(answer)
    for name in members:
        yield name, json.dumps(members | {name: value})
    for name in members["response"]:
        yield name, json.dumps(members | {"response": members["response"] | {name: value}})


CLIENT_DATA: list[Callable[[dict[str, Any]], Any]] = [
    lambda _: None,
    lambda _: [],
    lambda _: "text",
    dict.fromkeys,
    lambda values: {name: [name] for name in values},
    lambda values: dict.fromkeys(values, 1),
    lambda values: values | {"challenge": {"a": 1}},
    lambda values: values | {"challenge": "é"},
    lambda values: values | {"tokenBinding": {"status": "supported"}, "origin": 5},
]


@pytest.mark.parametrize("change", CLIENT_DATA, ids=range(len(CLIENT_DATA)))
async def test_odd_client_data(alice: User, device: Authenticator, change: Callable[[dict[str, Any]], Any]) -> None:
    answers = [
        json.loads(Authenticator().create(passkeys.registration_options(alice, CHALLENGE, []))),
        json.loads(device.get(passkeys.authentication_options(CHALLENGE))),
    ]
    for answer in answers:
        values = json.loads(decode(answer["response"]["clientDataJSON"]))
        answer["response"]["clientDataJSON"] = encode(json.dumps(change(values)).encode())
    with pytest.raises(InvalidPasskeyError):
        await passkeys.register(alice.id, "", CHALLENGE, json.dumps(answers[0]))
    with pytest.raises(InvalidPasskeyError):
        await passkeys.verify(CHALLENGE, json.dumps(answers[1]), user_id=None)


BAD_KEYS = {
    "nothing": b"",
    "no map": cbor2.dumps(4),
    "no members": cbor2.dumps({}),
    "off the curve": cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: b"\1" * 32, -3: b"\1" * 32}),
    "too short": cbor2.dumps({1: 1, 3: EDDSA, -1: 6, -2: b"\1" * 31}),
    "another curve": cbor2.dumps({1: 1, 3: EDDSA, -1: 4, -2: b"\1" * 32}),
    "a weak modulus": cbor2.dumps({1: 3, 3: RS256, -1: b"\xff" * 32, -2: b"\1\0\1"}),
    "exponent one": cbor2.dumps({1: 3, 3: RS256, -1: b"\xff" * 256, -2: b"\1"}),
    "RS1": cbor2.dumps({1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\1\0\1"}),
    "text for numbers": cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: "x" * 32, -3: "y" * 32}),
    "a symmetric key": cbor2.dumps({1: 4, 3: 5, -1: b"\1" * 32}),
    "too deep": b"\x81" * 5_000,
    "a huge length": bytes.fromhex("5b7fffffffffffffff"),
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
async def test_keys_that_verify_nothing(alice: User, key: bytes) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _register(alice, Authenticator(public_key=key or b"\xff"))
    assert await passkeys.passkeys_of(alice.id) == []


async def test_the_id_of_a_credential(alice: User) -> None:
    with pytest.raises(InvalidPasskeyError):
        await _register(alice, Authenticator(credential_id=b"x" * 1024))
    with pytest.raises(InvalidPasskeyError):
        await _register(alice, Authenticator(credential_id=b""))
    await _register(alice, Authenticator(credential_id=secrets.token_bytes(1023)))
    answer = json.loads(Authenticator().create(passkeys.registration_options(alice, CHALLENGE, [])))
    answer["id"] = answer["rawId"] = encode(b"another")
    with pytest.raises(InvalidPasskeyError):
        await passkeys.register(alice.id, "", CHALLENGE, json.dumps(answer))


# Managing passkeys


async def test_the_same_one_again(alice: User, device: Authenticator, make_user: MakeUser) -> None:
    bob = await make_user()
    for user in (alice, bob):
        with pytest.raises(InvalidPasskeyError, match="already"):
            await _register(user, device)
    (kept,) = await passkeys.passkeys_of(alice.id)
    assert kept.credential_id == device.credential_id
    assert await passkeys.passkeys_of(bob.id) == []


async def test_the_number_of_passkeys_is_limited(alice: User) -> None:
    results = await asyncio.gather(
        *(_register(alice, Authenticator(alg=EDDSA)) for _ in range(26)), return_exceptions=True
    )
    assert sum(isinstance(result, Passkey) for result in results) == 20
    assert len(await passkeys.passkeys_of(alice.id)) == 20
    with pytest.raises(InvalidPasskeyError, match="20 passkeys"):
        await _register(alice, Authenticator())


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("", "Passkey"),
        (" \0\n\u202e ", "Passkey"),
        ("My  phone\n", "My phone"),
        ("<b>&\"'", "<b>&\"'"),
        ("x" * 1_000_000, "x" * 64),
        ("\ud800 key", "key"),
        ("📱", "📱"),
    ],
)
async def test_names(alice: User, device: Authenticator, name: str, kept: str) -> None:
    made = await _register(alice, Authenticator(alg=EDDSA), name)
    assert made.name == kept
    changed = await passkeys.rename(alice.id, made.id, name)
    assert changed is (kept != "Passkey")


async def test_an_unnamed_one_is_named_after_where_it_is_kept(alice: User) -> None:
    for aaguid, name in list(providers().items())[: passkeys.MAX_PASSKEYS]:
        assert (await _register(alice, Authenticator(alg=EDDSA, aaguid=aaguid))).name == name


def test_the_names_of_providers() -> None:
    """Each fits, and zeros name nothing: browsers send them to hide the model."""
    assert all(name == passkeys.clean_name(name) for name in providers().values())
    assert provider(UUID(int=0)) == ""
    assert {"iCloud Keychain", "Google Password Manager", "1Password", "Bitwarden", "Windows Hello", "YubiKey 5 NFC",
            "Samsung Pass", "Proton Pass", "KeePassXC", "Dashlane"} <= set(providers().values())  # fmt: skip


async def test_only_own_passkeys_can_be_renamed_and_removed(
    alice: User, device: Authenticator, make_user: MakeUser
) -> None:
    bob = await make_user()
    (own,) = await passkeys.passkeys_of(alice.id)
    assert not await passkeys.rename(bob.id, own.id, "Bob's")
    assert not await passkeys.remove(bob.id, own.id)
    assert await passkeys.rename(alice.id, own.id, "Laptop")
    assert [item.name for item in await passkeys.passkeys_of(alice.id)] == ["Laptop"]
    assert await passkeys.remove(alice.id, own.id)
    assert not await passkeys.remove(alice.id, own.id)
    with pytest.raises(InvalidPasskeyError, match="is unknown"):
        await _verify(device)


async def test_unknown_transports_are_left_out(alice: User) -> None:
    made = await _register(alice, Authenticator(transports=["internal", "telepathy", "internal"]))
    assert made.transports == ["internal"]
    row = await fetchrow("SELECT transports FROM passkey WHERE id = $1", made.id)
    assert row is not None
    assert row["transports"] == ["internal"]
