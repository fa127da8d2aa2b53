"""Errors of JOSE."""


class InvalidJWTError(Exception):
    """The token is malformed, not signed by one of the keys, or not valid now."""


class UnknownKeyError(InvalidJWTError):
    """No published key of the issuer can have signed the token. The issuer may have published a new one since."""


class InvalidKeyError(ValueError):
    """Not a usable private key."""


class UnsupportedAlgorithmError(ValueError):
    """An algorithm or key size that is not supported."""
