"""Errors of JOSE."""

from idp.errors import ProofError, ValidationError
from idp.reasons import Reason


class InvalidJWTError(ProofError):
    """The token is malformed, not signed by one of the keys, or outside its times."""

    reason: Reason = Reason.MALFORMED


class NoMatchingKeyError(InvalidJWTError):
    """None of the issuer's known keys can have signed the token. The issuer may have published a new one since."""

    reason = Reason.BAD_SIGNATURE


class InvalidKeyError(ValidationError):
    """Not a usable private key."""

    code = "invalid_key"


class KeySizeError(InvalidKeyError):
    """A key of others that is too short, or so large that using it takes too long."""


class UnsupportedAlgorithmError(ValidationError):
    """An algorithm or key size that is not supported."""

    code = "unsupported_algorithm"
