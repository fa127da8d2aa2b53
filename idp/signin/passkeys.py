"""Passkeys: credentials of Web Authentication Level 3, made and verified with the ``webauthn`` package.

Every passkey may be the only step of a sign-in. So each must be discoverable (``residentKey`` is required: the browser
offers it before anybody has said who they are), and user verification is required both when it is made and when it is
used: the device, and what unlocks it. Which make of device it is does not matter to us, so no attestation is asked for.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from idp import ids
from idp.accounts.tables import User
from idp.audit.events import record
from idp.errors import ProofError
from idp.infra.db.columns import all_columns
from idp.infra.db.engine import execute, fetchrow, transaction
from idp.infra.i18n import gettext as _
from idp.infra.lazy import lazy
from idp.reasons import Reason
from idp.settings import settings
from idp.signin.tables import Passkey

if TYPE_CHECKING:
    import webauthn
    from webauthn.helpers import structs
    from webauthn.registration.verify_registration_response import VerifiedRegistration
else:
    webauthn = lazy("webauthn")

log = structlog.get_logger()

#: How many a user may have.
MAX_PASSKEYS = 20
MAX_NAME_LENGTH = 64
#: What a browser sends is a tenth of it.
MAX_RESPONSE_LENGTH = 20_000
#: The longest that section 7.1 allows.
MAX_CREDENTIAL_ID_LENGTH = 1023
MIN_RSA_BITS = 2048
#: In milliseconds. As long as section 15.1 recommends, for those who are slow.
TIMEOUT = 300_000

#: In order of preference, by their names in the ``webauthn`` package.
ALGORITHMS = ("EDDSA", "ECDSA_SHA_256", "RSASSA_PKCS1_v1_5_SHA_256")
#: Where passkeys are kept, to name one that its owner does not name.
PROVIDERS = {
    UUID("fbfc3007-154e-4ecc-8c0b-6e020557d7bd"): "Apple Passwords",
    UUID("ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4"): "Google Password Manager",
    UUID("08987058-cadc-4b81-b6e1-30de50dcbe96"): "Windows Hello",
    UUID("9ddd1817-af5a-4672-a2b9-3e3dd95000a9"): "Windows Hello",
    UUID("6028b017-b1d4-4c02-b4b3-afcdafc96bb2"): "Windows Hello",
    UUID("53414d53-554e-4700-0000-000000000000"): "Samsung Pass",
    UUID("bada5566-a7aa-401f-bd96-45619a55120d"): "1Password",
    UUID("d548826e-79b4-db40-a3d8-11116f7e8349"): "Bitwarden",
}

_LOCK = "SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE"
_INSERT = f"""
    INSERT INTO passkey (id, user_id, credential_id, public_key, sign_count, transports, aaguid, backup_eligible, name,
                         created_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, now()
    WHERE (SELECT count(*) FROM passkey WHERE user_id = $2) < {MAX_PASSKEYS}
    ON CONFLICT (credential_id) DO NOTHING
    RETURNING {all_columns(Passkey)}
"""  # noqa: S608
_FIND = "SELECT id, user_id, public_key, backup_eligible FROM passkey WHERE credential_id = $1"
# Section 7.2: a count that does not grow tells of a copy. Many passkeys do not count at all. One that may be backed up
# is on several devices, of which each may count for itself: there it is a signal. One that is bound to its device has
# no honest copy, so there it is a verdict.
_GROWS = "({row}.sign_count < $2 OR ({row}.sign_count = 0 AND $2 = 0))"
_USE = f"""
    UPDATE passkey AS p SET sign_count = $2, last_used_at = now() FROM passkey AS old
    WHERE p.id = $1 AND old.id = p.id AND (p.backup_eligible OR {_GROWS.format(row="p")})
    RETURNING {_GROWS.format(row="old")} AS grows, old.sign_count AS before
"""  # noqa: S608
_RENAME = "UPDATE passkey SET name = $3 WHERE user_id = $1 AND id = $2"
_REMOVE = "DELETE FROM passkey WHERE user_id = $1 AND id = $2"

T = TypeVar("T")


class InvalidPasskeyError(ProofError):
    """What the browser sent is not accepted. The message is one plain sentence for the person."""

    reason = Reason.WRONG_PASSKEY


class VerifiedPasskey(NamedTuple):
    """Who has shown which passkey."""

    user_id: UUID
    passkey_id: UUID
    user_verified: bool
    backup_eligible: bool


def _rp_id() -> str:
    return urlsplit(settings().issuer).hostname or ""


def _algorithms() -> "list[webauthn.helpers.cose.COSEAlgorithmIdentifier]":
    return [webauthn.helpers.cose.COSEAlgorithmIdentifier[name] for name in ALGORITHMS]


def _descriptors(passkeys: Sequence[Passkey]) -> "list[structs.PublicKeyCredentialDescriptor]":
    structs = webauthn.helpers.structs
    return [
        structs.PublicKeyCredentialDescriptor(
            id=passkey.credential_id, transports=[structs.AuthenticatorTransport(item) for item in passkey.transports]
        )
        for passkey in passkeys
    ]


def _read(parse: Callable[..., T], **values: Any) -> T:
    """Parse or check with the library, which lets through whatever its parsers of JSON, CBOR and keys raise."""
    try:
        return parse(**values)
    except Exception as error:
        log.info("passkey refused", error=type(error).__qualname__)
        raise InvalidPasskeyError(_("This passkey could not be verified. Try again, or choose another way.")) from error


# Making one


def registration_options(user: User, challenge: bytes, existing: Sequence[Passkey]) -> str:
    """What ``navigator.credentials.create()`` needs, as JSON (section 5.1.8).

    Args:
        existing: the user's passkeys. The devices that hold them make no second one.
    """
    structs = webauthn.helpers.structs
    options = webauthn.generate_registration_options(
        rp_id=_rp_id(),
        rp_name=settings().product_name,
        user_id=user.id.bytes,
        user_name=user.email,
        user_display_name=user.name or user.email,
        challenge=challenge,
        timeout=TIMEOUT,
        attestation=structs.AttestationConveyancePreference.NONE,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(existing),
        supported_pub_key_algs=_algorithms(),
    )
    return webauthn.options_to_json(options)


async def register(user_id: UUID, name: str, challenge: bytes, response_json: str) -> Passkey:
    """Keep a new passkey (section 7.1).

    Args:
        name: what its owner calls it. Empty: it is named after where it is kept.
        challenge: what :func:`registration_options` was given. The caller sees to it that it is used once.

    Raises:
        InvalidPasskeyError: the answer is not right, the passkey is known, or there are too many.
    """
    credential = _read(_registration, challenge=challenge, response_json=response_json)
    made = credential.verified
    aaguid = UUID(made.aaguid)
    name = clean_name(name) or PROVIDERS.get(aaguid) or _("Passkey")
    async with transaction():
        # Two that are added at once would not be counted.
        await fetchrow(_LOCK, user_id)
        row = await fetchrow(
            _INSERT, ids.uuid7(), user_id, made.credential_id, made.credential_public_key, made.sign_count,
            credential.transports, aaguid, _backup_eligible(made), name,
        )  # fmt: skip
    if row is not None:
        return Passkey(**row)
    if len(await passkeys_of(user_id)) >= MAX_PASSKEYS:
        raise InvalidPasskeyError(
            _("You have %(count)s passkeys already. Remove one that you no longer use.", count=MAX_PASSKEYS)
        )
    raise InvalidPasskeyError(_("This passkey is here already."))


class _Registration(NamedTuple):
    verified: "VerifiedRegistration"
    transports: list[str]


def _registration(challenge: bytes, response_json: str) -> _Registration:
    _refuse_long(response_json)
    credential = webauthn.helpers.parse_registration_credential_json(response_json)
    _refuse_framed(credential.response.client_data_json)
    verified = webauthn.verify_registration_response(
        credential=credential,
        expected_challenge=challenge,
        expected_rp_id=_rp_id(),
        expected_origin=settings().origin,
        require_user_verification=True,
        supported_pub_key_algs=_algorithms(),
    )
    if len(verified.credential_id) > MAX_CREDENTIAL_ID_LENGTH or verified.credential_id != credential.raw_id:
        raise ValueError("The credential's id is too long, or not the one that it came with.")
    # The library looks at the algorithm only. A key that cannot verify anything is found out now, not at the next
    # sign-in.
    key = webauthn.helpers.decoded_public_key_to_cryptography(
        webauthn.helpers.decode_credential_public_key(verified.credential_public_key)
    )
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise ValueError("The key is too short.")
    return _Registration(verified, sorted({item.value for item in credential.response.transports or []}))


def _refuse_long(response_json: str) -> None:
    if len(response_json) > MAX_RESPONSE_LENGTH:
        raise ValueError("The response is too long.")


def _refuse_framed(client_data: bytes) -> None:
    """Our pages stand in no frame of another origin, which the library does not look at."""
    if webauthn.helpers.parse_client_data_json(client_data).cross_origin:
        raise ValueError("The response comes from a frame in a page of another origin.")


def _backup_eligible(verified: Any) -> bool:
    return bool(verified.credential_device_type is webauthn.helpers.structs.CredentialDeviceType.MULTI_DEVICE)


# Using one


def authentication_options(challenge: bytes, passkeys: Sequence[Passkey] | None = None) -> str:
    """What ``navigator.credentials.get()`` needs, as JSON (section 5.1.8).

    Args:
        passkeys: those that will do. None: any, and it tells who its owner is.
    """
    options = webauthn.generate_authentication_options(
        rp_id=_rp_id(),
        challenge=challenge,
        timeout=TIMEOUT,
        allow_credentials=_descriptors(passkeys or []),
        user_verification=webauthn.helpers.structs.UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


async def verify(
    challenge: bytes, response_json: str, *, user_id: UUID | None, require_user_verification: bool = True
) -> VerifiedPasskey:
    """Verify that somebody holds a passkey (section 7.2), and note its use.

    Args:
        challenge: what :func:`authentication_options` was given. The caller sees to it that it is used once.
        user_id: who it must be. None: whoever the passkey belongs to, which the answer must then name.

    Raises:
        InvalidPasskeyError: the answer is wrong, or the passkey is unknown, belongs to another user, or is a copy of a
            device-bound one.
    """
    credential = _read(_authentication, response_json=response_json)
    row = await fetchrow(_FIND, credential.raw_id)
    if row is None:
        raise InvalidPasskeyError(_("This passkey is not known here. It may have been removed from the account."))
    owner = row["user_id"]
    handle = credential.response.user_handle
    if user_id not in (None, owner) or handle not in ((owner.bytes,) if user_id is None else (None, b"", owner.bytes)):
        raise InvalidPasskeyError(_("This passkey belongs to another account."))
    verified = _read(
        webauthn.verify_authentication_response,
        credential=credential,
        expected_challenge=challenge,
        expected_rp_id=_rp_id(),
        expected_origin=settings().origin,
        credential_public_key=row["public_key"],
        # Not compared here with what was read above: _USE decides.
        credential_current_sign_count=0,
        require_user_verification=require_user_verification,
    )
    if _backup_eligible(verified) != row["backup_eligible"]:
        # A credential keeps what it was made as.
        raise InvalidPasskeyError(_("This passkey could not be verified. Try again, or choose another way."))
    used = await fetchrow(_USE, row["id"], verified.new_sign_count)
    if used is None:
        await record("passkey_cloned", outcome="denied", user_id=owner, detail={"passkey_id": str(row["id"])})
        raise InvalidPasskeyError(_("This passkey seems to be a copy of another one, so it is not accepted."))
    if not used["grows"]:
        detail = {"passkey_id": str(row["id"]), "before": used["before"], "count": verified.new_sign_count}
        await record("passkey_count_fell", user_id=owner, detail=detail)
    return VerifiedPasskey(owner, row["id"], verified.user_verified, row["backup_eligible"])


def _authentication(response_json: str) -> "structs.AuthenticationCredential":
    _refuse_long(response_json)
    credential = webauthn.helpers.parse_authentication_credential_json(response_json)
    _refuse_framed(credential.response.client_data_json)
    return credential


def amr(verified: VerifiedPasskey) -> list[str]:
    """The authentication methods that a passkey amounts to (RFC 8176).

    A key that may be copied to other devices by its owner's provider is held by software. ``user`` is a test of
    presence, which each use includes; that of verification is what makes it ``mfa``, which the caller adds.
    """
    return ["swk" if verified.backup_eligible else "hwk", "user"]


# Keeping them


async def passkeys_of(user_id: UUID) -> list[Passkey]:
    """The passkeys of a user, the oldest first."""
    return await Passkey.objects().where(Passkey.user_id == user_id).order_by(Passkey.created_at)


def clean_name(text: str) -> str:
    """A name on one line, no longer than we keep, without anything that cannot be seen."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_NAME_LENGTH])
    return " ".join(text.split())[:MAX_NAME_LENGTH].strip()


async def rename(user_id: UUID, passkey_id: UUID, name: str) -> bool:
    """Name a passkey of this user. Returns whether there is such a one and such a name."""
    name = clean_name(name)
    return bool(name) and bool(await execute(_RENAME, user_id, passkey_id, name))


async def remove(user_id: UUID, passkey_id: UUID) -> bool:
    """Remove a passkey of this user. Returns whether there was one."""
    return bool(await execute(_REMOVE, user_id, passkey_id))
