"""The names of the client authentication methods.

Discovery, validation, CLI, API and console read this list. It imports nothing, so that ``--help`` stays fast.
"""

#: The methods that send a secret. A client may use either, unless it is registered strictly for one.
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
#: The methods that send a signed assertion (RFC 7523 section 2.2): by a shared secret, and by a private key.
ASSERTION_METHODS = ("client_secret_jwt", "private_key_jwt")
#: The methods that present a TLS certificate (RFC 8705 section 2): one of a trusted authority, and a registered one.
TLS_METHODS = ("tls_client_auth", "self_signed_tls_client_auth")
#: The method that presents a token of a trusted issuer, by a name of our own.
WORKLOAD_METHOD = "workload_identity"
#: Every method. Each has a file in :mod:`idp.oauth.clients.authentication`.
AUTH_METHODS = (*SECRET_METHODS, *ASSERTION_METHODS, *TLS_METHODS, WORKLOAD_METHOD, "none")
#: The methods that sign with the client secret, which is stored encrypted for that. For others only a hash is stored.
SECRET_SIGNING_METHODS = ("client_secret_jwt",)
#: The methods with a client secret.
SECRET_BEARING_METHODS = (*SECRET_METHODS, *SECRET_SIGNING_METHODS)
