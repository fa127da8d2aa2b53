"""The token hook: a signed HTTPS request before tokens of a user are issued, which adds claims or denies the tokens.

:mod:`~idp.oauth.token_hook.registration` declares hooks, :mod:`~idp.oauth.token_hook.service` asks the one of a client,
and :mod:`~idp.oauth.token_hook.grants` does so before a grant is consumed. A client without a hook pays nothing.
"""
