"""Errors of JOSE."""

from idp.errors import ProofError, ValidationError


class InvalidJWTError(ProofError):
    """The token is malformed, not signed by one of the keys, or not valid now."""


class UnknownKeyError(InvalidJWTError):
    """No published key of the issuer can have signed the token. The issuer may have published a new one since."""


class InvalidKeyError(ValidationError):
    """Not a usable private key."""

    code = "invalid_key"


class UnsupportedAlgorithmError(ValidationError):
    """An algorithm or key size that is not supported."""

    code = "unsupported_algorithm"
