"""Credentials of users: JSON inside of the JSON of the export."""

from base64 import b32encode
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from idp.migration.keycloak.representations import Credential

#: The version of Argon2 by its name there (RFC 9106 section 3.1).
_VERSIONS: Final = {"1.0": "16", "1.3": "19"}
#: Why other kinds of credentials are lost.
_OTHERS: Final = {
    "webauthn": "A security key is not imported.",
    "webauthn-passwordless": "A passkey is not imported.",
    "recovery-authn-codes": "Recovery codes are not imported.",
}


def read(credentials: Iterable[Credential], lost: Counter[str]) -> dict[str, str]:
    """Return the ``password_hash`` and the ``totp_secret`` of a user.

    Args:
        lost: counts what is lost.
    """
    found: dict[str, str] = {}
    for credential in credentials:
        secret, data = _object(credential.secret_data), _object(credential.credential_data)
        match credential.type:
            case "password":
                if "password_hash" in found or (stored := _hash(secret, data)) is None:
                    lost["A password is stored in a form that is not supported. Users set a new one."] += 1
                else:
                    found["password_hash"] = stored
            case "otp":
                if "totp_secret" in found:
                    lost["A second authenticator app is not imported."] += 1
                elif (app := _app(secret, data)) is None:
                    lost["An authenticator app has not 6 digits, 30 seconds and SHA-1. Users add it again."] += 1
                else:
                    found["totp_secret"] = app
            case kind:
                lost[_OTHERS.get(kind, "A credential of another kind is not imported.")] += 1
    return found


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return {}


def _hash(secret: dict[str, Any], data: dict[str, Any]) -> str | None:
    """Return the hash in the format of passlib or, for Argon2, of the PHC; None: it has another form."""
    algorithm, iterations = data.get("algorithm"), data.get("hashIterations")
    salt, value = str(secret.get("salt", "")), str(secret.get("value", ""))
    if algorithm in ("pbkdf2", "pbkdf2-sha256", "pbkdf2-sha512"):
        return f"${algorithm}${iterations}${salt}${value}"
    given = data.get("additionalParameters")
    if algorithm != "argon2" or not isinstance(given, dict):
        return None
    costs = {name: each[0] for name, each in given.items() if isinstance(each, list) and each}
    version = _VERSIONS.get(str(costs.get("version", "1.3")))
    return (
        f"$argon2{costs.get('type', 'id')}$v={version}$m={costs.get('memory')},t={iterations}"
        f",p={costs.get('parallelism')}${salt.rstrip('=')}${value.rstrip('=')}"
    )


def _app(secret: dict[str, Any], data: dict[str, Any]) -> str | None:
    """Return the secret of an app in base32; None: it has other parameters than ours."""
    given = tuple(data.get(name, default) for name, default in (("subType", "totp"), ("digits", 6), ("period", 30)))
    value = secret.get("value")
    if given != ("totp", 6, 30) or data.get("algorithm", "HmacSHA1") != "HmacSHA1" or not isinstance(value, str):
        return None
    # The secret is the bytes of the text itself, unless it says otherwise.
    return value if data.get("secretEncoding") == "BASE32" else b32encode(value.encode()).decode().rstrip("=")
