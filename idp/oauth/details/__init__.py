"""Authorization details (RFC 9396): requests as JSON objects, each of a type that the operator registered.

:mod:`~idp.oauth.details.requested` reads those of a request, :mod:`~idp.oauth.details.granted` compares them with what
was granted, :mod:`~idp.oauth.details.words` shows them to people.
"""
