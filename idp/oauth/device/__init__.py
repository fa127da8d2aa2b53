"""The device authorization grant (RFC 8628): a device without a browser shows a code, which its user enters elsewhere.

Sign-in and consent are those of the authorization endpoint (:mod:`idp.oauth.authorize.polled`). The device polls
:mod:`idp.oauth.token.device_code`.
"""
