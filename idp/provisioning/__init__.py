"""Outbound SCIM 2.0: this server provisions users and groups into applications (RFC 7643, RFC 7644).

A *target* is an application with a SCIM server: :mod:`idp.provisioning.targets` saves it. Events of the audit trail
queue deliveries (``publish``). A delivery is about one user or one group, and computes what they are to be at the
target when it is sent (``desired``, ``user_delivery``, ``group_delivery``). Jobs push all users of a target, and
compare it with this server (``jobs``, ``push``, ``check``; docs/decisions/0085-outbound-scim.md).
"""
