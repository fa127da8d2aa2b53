"""Token type identifiers (RFC 8693 section 3)."""

PREFIX = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN = f"{PREFIX}access_token"
ID_TOKEN = f"{PREFIX}id_token"
JWT = f"{PREFIX}jwt"
