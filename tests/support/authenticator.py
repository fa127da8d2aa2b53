"""Authenticators without hardware: one in Python that can respond wrongly, and Chromium's virtual one."""

import hashlib
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, replace
from typing import Any, Self
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from playwright.async_api import CDPSession, Page

ES256, EDDSA, RS256 = -7, -8, -257
NO_AAGUID = UUID(int=0)


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


def _int(value: int) -> bytes:
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def _new_key(alg: int) -> Any:
    if alg == ES256:
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate() if alg == EDDSA else rsa.generate_private_key(65537, 2048)


@dataclass
class Authenticator:
    """One passkey, with the browser around it. Its fields may be set to any value that a response should contain.

    Attributes:
        count: the signature counter of the next response; it grows with each, unless it is 0.
        challenge: replaces the requested challenge.
        public_key: the COSE key that registration reports, in place of the real one.
        client_data: further members of the client data.
    """

    origin: str = "http://localhost:8000"
    rp_id: str = "localhost"
    alg: int = ES256
    user_present: bool = True
    user_verified: bool = True
    backup_eligible: bool = True
    backed_up: bool = True
    count: int = 0
    challenge: bytes | None = None
    public_key: bytes | None = None
    user_handle: bytes | None = None
    aaguid: UUID = NO_AAGUID
    transports: list[str] = field(default_factory=lambda: ["internal", "hybrid"])
    client_data: dict[str, Any] = field(default_factory=dict)
    type: str | None = None
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    key: Any = None

    def __post_init__(self) -> None:
        self.key = self.key or _new_key(self.alg)

    def but(self, **claims: Any) -> Self:
        """Return the same passkey with other fields."""
        return replace(self, **claims)

    def create(self, options_json: str) -> str:
        """Answer ``navigator.credentials.create()``."""
        options = json.loads(options_json)
        self.user_handle = decode(options["user"]["id"])
        client_data = self._client_data("webauthn.create", options["challenge"])
        attested = self.aaguid.bytes + len(self.credential_id).to_bytes(2, "big") + self.credential_id
        data = self._data(0x40) + attested + (self.public_key or self._cose_key())
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(client_data, {"attestationObject": encode(attestation), "transports": self.transports})

    def get(self, options_json: str) -> str:
        """Answer ``navigator.credentials.get()``."""
        options = json.loads(options_json)
        client_data = self._client_data("webauthn.get", options["challenge"])
        data = self._data()
        answer = {
            "authenticatorData": encode(data),
            "signature": encode(self._sign(data + hashlib.sha256(client_data).digest())),
        }
        if self.user_handle is not None:
            answer["userHandle"] = encode(self.user_handle)
        return self._answer(client_data, answer)

    def _client_data(self, type: str, challenge: str) -> bytes:
        challenge = challenge if self.challenge is None else encode(self.challenge)
        values = {"type": self.type or type, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(values | self.client_data).encode()

    def _data(self, flags: int = 0) -> bytes:
        """Return the authenticator data that is common to all responses (WebAuthn section 6.1)."""
        flags |= self.user_present << 0 | self.user_verified << 2 | self.backup_eligible << 3 | self.backed_up << 4
        count, self.count = self.count, self.count + bool(self.count)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + count.to_bytes(4, "big")

    def _sign(self, data: bytes) -> bytes:
        if self.alg == EDDSA:
            return self.key.sign(data)
        if self.alg == RS256:
            return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(data, ec.ECDSA(hashes.SHA256()))

    def _cose_key(self) -> bytes:
        public = self.key.public_key()
        if self.alg == EDDSA:
            return cbor2.dumps({1: 1, 3: EDDSA, -1: 6, -2: public.public_bytes_raw()})
        numbers = public.public_numbers()
        if self.alg == RS256:
            return cbor2.dumps({1: 3, 3: RS256, -1: _int(numbers.n), -2: _int(numbers.e)})
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return cbor2.dumps({1: 2, 3: ES256, -1: 1, -2: x, -3: y})

    def _answer(self, client_data: bytes, response: dict[str, Any]) -> str:
        return json.dumps(
            {
                "id": encode(self.credential_id),
                "rawId": encode(self.credential_id),
                "type": "public-key",
                "authenticatorAttachment": "platform",
                "clientExtensionResults": {},
                "response": {"clientDataJSON": encode(client_data), **response},
            }
        )


class VirtualAuthenticator:
    """The authenticator of a page in Chromium (WebAuthn section 11, by the DevTools protocol)."""

    def __init__(self, session: CDPSession, id: str) -> None:
        self._session = session
        self._id = id

    async def credentials(self) -> list[dict[str, Any]]:
        answer = await self._session.send("WebAuthn.getCredentials", {"authenticatorId": self._id})
        return answer["credentials"]

    async def set_user_verified(self, verified: bool) -> None:
        """Set whether the next users who are asked for a fingerprint have the right one."""
        await self._session.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": verified})

    async def remove(self) -> None:
        await self._session.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": self._id})


async def virtual_authenticator(page: Page, **options: Any) -> VirtualAuthenticator:
    """Give a page a platform authenticator with passkeys and a fingerprint reader. It is removed with the page.

    Args:
        options: members of ``WebAuthn.VirtualAuthenticatorOptions``, such as ``isUserVerified=False``.
    """
    session = await page.context.new_cdp_session(page)
    await session.send("WebAuthn.enable", {"enableUI": False})
    values = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    answer = await session.send("WebAuthn.addVirtualAuthenticator", {"options": values | options})
    return VirtualAuthenticator(session, answer["authenticatorId"])
