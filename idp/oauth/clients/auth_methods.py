"""The names of the client authentication methods.

Discovery, validation, CLI, API and console read this list. It imports nothing, so that ``--help`` stays fast.
"""

#: The methods that send a secret. A client may use either, unless it is registered strictly for one.
SECRET_METHODS = ("client_secret_basic", "client_secret_post")
#: Every method. Each has a file in :mod:`idp.oauth.clients.authentication`.
AUTH_METHODS = (*SECRET_METHODS, "none")
