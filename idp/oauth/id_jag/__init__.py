"""Identity assertions for other servers (draft-ietf-oauth-identity-assertion-authz-grant): who gets one, and for what.

An ID token is exchanged for an assertion that another authorization server accepts as a grant. Policies decide, and the
user is not asked. The exchange is :mod:`idp.oauth.token.id_jag`; the other part, the grant that accepts such an
assertion, is :mod:`idp.oauth.token.jwt_bearer` (docs/enterprise-authorization.md).
"""
