"""Token exchange (RFC 8693): who may exchange which tokens, and for what.

:mod:`~idp.oauth.exchange.parties` reads the tokens of a request, :mod:`~idp.oauth.exchange.rules` finds the policy that
allows it, :mod:`~idp.oauth.exchange.actors` makes the claim ``act``. The grant is
:mod:`idp.oauth.token.token_exchange`. Without a policy nothing is exchanged (docs/token-exchange.md).
"""
