"""Clients that register themselves.

RFC 7591 (registration), RFC 7592 (management), OpenID Connect Dynamic Client Registration. Call
:mod:`idp.oauth.clients.dynamic.service` to register and change clients, and
:mod:`idp.oauth.clients.dynamic.initial_tokens` to let others do it. Such a client has ``origin`` dynamic.
"""
