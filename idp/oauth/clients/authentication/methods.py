"""The methods, by their registered names."""

from typing import Final

from idp.oauth.clients.authentication.client_secret_basic import client_secret_basic
from idp.oauth.clients.authentication.client_secret_jwt import client_secret_jwt
from idp.oauth.clients.authentication.client_secret_post import client_secret_post
from idp.oauth.clients.authentication.credentials import Method
from idp.oauth.clients.authentication.none import none
from idp.oauth.clients.authentication.private_key_jwt import private_key_jwt
from idp.oauth.clients.authentication.self_signed_tls_client_auth import self_signed_tls_client_auth
from idp.oauth.clients.authentication.tls_client_auth import tls_client_auth
from idp.oauth.clients.authentication.workload_identity import workload_identity

#: The names are those of :data:`idp.oauth.clients.auth_methods.AUTH_METHODS`.
METHODS: Final[dict[str, Method]] = {
    "client_secret_basic": client_secret_basic,
    "client_secret_post": client_secret_post,
    "client_secret_jwt": client_secret_jwt,
    "private_key_jwt": private_key_jwt,
    "tls_client_auth": tls_client_auth,
    "self_signed_tls_client_auth": self_signed_tls_client_auth,
    "workload_identity": workload_identity,
    "none": none,
}
