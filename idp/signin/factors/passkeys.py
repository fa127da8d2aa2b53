"""Passkeys: credentials of Web Authentication Level 3, made and verified with the ``webauthn`` package.

A passkey can be the only step of a sign-in. So it must be discoverable (``residentKey`` is required: the browser offers
it before the user is known), and user verification is required when it is created and when it is used: possession of
the device, and what unlocks it. The make of the device does not matter, so no attestation is requested.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from idp.accounts.repository.users import lock_user
from idp.accounts.tables import User
from idp.audit.events import record
from idp.branding.registry import product_name
from idp.errors import ProofError
from idp.infra.db.engine import transaction
from idp.infra.i18n import gettext as _
from idp.infra.lazy import lazy
from idp.reasons import Reason
from idp.settings import settings
from idp.signin.factors import repository
from idp.signin.factors.passkey_providers import suggested_name
from idp.signin.factors.repository import NewPasskey
from idp.signin.tables import Passkey

if TYPE_CHECKING:
    import webauthn
    from webauthn.helpers import structs
    from webauthn.registration.verify_registration_response import VerifiedRegistration
else:
    webauthn = lazy("webauthn")

log = structlog.get_logger()

#: Maximum number of passkeys of one user.
MAX_PASSKEYS = 20
MAX_NAME_LENGTH = 64
#: Maximum size of a response. Browsers send about a tenth of this.
MAX_RESPONSE_LENGTH = 20_000
#: Maximum length of a credential id (section 7.1).
MAX_CREDENTIAL_ID_LENGTH = 1023
MIN_RSA_BITS = 2048
#: Timeout in milliseconds, as section 15.1 recommends.
TIMEOUT = 300_000

#: Accepted algorithms in order of preference, by their names in the ``webauthn`` package.
ALGORITHMS = ("EDDSA", "ECDSA_SHA_256", "RSASSA_PKCS1_v1_5_SHA_256")
T = TypeVar("T")


class InvalidPasskeyError(ProofError):
    """The response of the browser is not accepted. The message is one plain sentence for the user."""

    reason = Reason.WRONG_PASSKEY


class VerifiedPasskey(NamedTuple):
    """A passkey that was verified, and its user."""

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
    """Call the library, which does not catch the errors of its parsers of JSON, CBOR and keys."""
    try:
        return parse(**values)
    except Exception as error:
        log.info("passkey_refused", error=type(error).__qualname__)
        raise InvalidPasskeyError(_("This passkey could not be verified. Try again, or choose another way.")) from error


# Creating a passkey


def registration_options(user: User, challenge: bytes, existing: Sequence[Passkey]) -> str:
    """Return the options of ``navigator.credentials.create()`` as JSON (section 5.1.8).

    Args:
        existing: the user's passkeys. Devices with one of them do not create a second one.
    """
    structs = webauthn.helpers.structs
    options = webauthn.generate_registration_options(
        rp_id=_rp_id(),
        rp_name=product_name(),
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


async def register(user_id: UUID, name: str, challenge: bytes, response_json: str, *, device: str = "") -> Passkey:
    """Verify and store a new passkey (section 7.1).

    Args:
        name: the name from its owner. If empty, it is named after its provider.
        challenge: the challenge of :func:`registration_options`. The caller ensures that it is used once.
        device: the browser and system, as text, for the name of a passkey of an unknown provider.

    Raises:
        InvalidPasskeyError: the response is invalid, the passkey is known already, or the user has too many.
    """
    credential = _read(_registration, challenge=challenge, response_json=response_json)
    made = credential.verified
    aaguid = UUID(made.aaguid)
    name = clean_name(name) or clean_name(suggested_name(aaguid, device))
    new = NewPasskey(
        user_id, made.credential_id, made.credential_public_key, made.sign_count, credential.transports, aaguid,
        _backup_eligible(made), name,
    )  # fmt: skip
    async with transaction():
        # Without the lock, two concurrent calls would not count each other.
        await lock_user(user_id)
        passkey = await repository.insert_passkey(new, MAX_PASSKEYS)
    if passkey is not None:
        return passkey
    if len(await passkeys_of(user_id)) >= MAX_PASSKEYS:
        raise InvalidPasskeyError(
            _("You already have %(count)s passkeys. Remove one that you no longer use.", count=MAX_PASSKEYS)
        )
    raise InvalidPasskeyError(_("This passkey is already registered."))


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
        raise ValueError("The credential's id is too long, or differs from the id of the response.")
    # The library checks the algorithm only. A key that cannot verify is refused now, not at the next sign-in.
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
    """Refuse responses from a frame of another origin, which the library does not check. Our pages are never framed."""
    if webauthn.helpers.parse_client_data_json(client_data).cross_origin:
        raise ValueError("The response comes from a frame in a page of another origin.")


def _backup_eligible(verified: Any) -> bool:
    return bool(verified.credential_device_type is webauthn.helpers.structs.CredentialDeviceType.MULTI_DEVICE)


# Using a passkey


def authentication_options(challenge: bytes, passkeys: Sequence[Passkey] | None = None) -> str:
    """Return the options of ``navigator.credentials.get()`` as JSON (section 5.1.8).

    Args:
        passkeys: the accepted passkeys. None: any discoverable passkey; it identifies its user.
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
    """Verify an assertion (section 7.2) and note the use of the passkey. Locks the user, in the caller's transaction.

    Args:
        challenge: the challenge of :func:`authentication_options`. The caller ensures that it is used once.
        user_id: the user whose passkey it must be. None: any user; the response must then name them.

    Raises:
        InvalidPasskeyError: the response is invalid, or the passkey is unknown, belongs to another user, or is a copy
            of a device-bound one.
    """
    credential = _read(_authentication, response_json=response_json)
    found = await repository.find_passkey(credential.raw_id)
    if found is None:
        raise InvalidPasskeyError(_("This passkey is unknown. It may have been removed from the account."))
    owner = found.user_id
    handle = credential.response.user_handle
    if user_id not in (None, owner) or handle not in ((owner.bytes,) if user_id is None else (None, b"", owner.bytes)):
        raise InvalidPasskeyError(_("This passkey belongs to another account."))
    verified = _read(
        webauthn.verify_authentication_response,
        credential=credential,
        expected_challenge=challenge,
        expected_rp_id=_rp_id(),
        expected_origin=settings().origin,
        credential_public_key=found.public_key,
        # Not compared here: repository.use_passkey decides, under the lock of the row.
        credential_current_sign_count=0,
        require_user_verification=require_user_verification,
    )
    if _backup_eligible(verified) != found.backup_eligible:
        # Backup eligibility of a credential never changes.
        raise InvalidPasskeyError(_("This passkey could not be verified. Try again, or choose another way."))
    # The user first, as in every change of a credential.
    await lock_user(owner)
    used = await repository.use_passkey(owner, found.id, verified.new_sign_count)
    if used is None:
        await record("passkey_cloned", outcome="denied", user_id=owner, detail={"passkey_id": str(found.id)})
        raise InvalidPasskeyError(_("This passkey seems to be a copy of another one, so it is not accepted."))
    if not used.grows:
        detail = {"passkey_id": str(found.id), "before": used.before, "count": verified.new_sign_count}
        await record("passkey_count_fell", user_id=owner, detail=detail)
    return VerifiedPasskey(owner, found.id, verified.user_verified, found.backup_eligible)


def _authentication(response_json: str) -> "structs.AuthenticationCredential":
    _refuse_long(response_json)
    credential = webauthn.helpers.parse_authentication_credential_json(response_json)
    _refuse_framed(credential.response.client_data_json)
    return credential


def amr(verified: VerifiedPasskey) -> list[str]:
    """Return the authentication methods of a passkey (RFC 8176).

    A key that its provider may copy to other devices is a software key. ``user`` stands for the test of presence, which
    each use includes. User verification makes it ``mfa``, which the caller adds.
    """
    return ["swk" if verified.backup_eligible else "hwk", "user"]


# Managing passkeys


async def passkeys_of(user_id: UUID) -> list[Passkey]:
    """Return the passkeys of a user, the oldest first."""
    return await repository.passkeys_of(user_id)


def clean_name(text: str) -> str:
    """Return the name on one line, shortened, without invisible characters."""
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_NAME_LENGTH])
    return " ".join(text.split())[:MAX_NAME_LENGTH].strip()


async def rename(user_id: UUID, passkey_id: UUID, name: str) -> bool:
    """Rename a passkey of this user. Returns False if there is no such passkey or the name is empty."""
    name = clean_name(name)
    return bool(name) and await repository.rename_passkey(user_id, passkey_id, name)


async def remove(user_id: UUID, passkey_id: UUID) -> bool:
    """Remove a passkey of this user. Returns whether there was one."""
    return await repository.delete_passkey(user_id, passkey_id)
