"""Encrypted responses, and the subjects of users."""

from collections.abc import Iterator

import msgspec

from idp.keys.algorithms import CONTENT_ENCRYPTION_ALGORITHMS
from idp.oauth.clients.metadata import ClientMetadata, invalid_metadata
from idp.oauth.clients.uris import is_one_host


def with_content_encryption(metadata: ClientMetadata) -> ClientMetadata:
    """Return the metadata with the default content encryption where only the key encryption is given.

    OpenID Connect Registration section 2, RFC 9701 section 6, JARM section 3.
    """
    default = CONTENT_ENCRYPTION_ALGORITHMS[0]
    missing = {
        enc: default
        for alg, enc in _encryptions()
        if getattr(metadata, alg) is not None and getattr(metadata, enc) is None
    }
    return msgspec.structs.replace(metadata, **missing)


def content_encryption_has_a_key(metadata: ClientMetadata) -> None:
    """OpenID Connect Registration section 2: with enc, alg must also be provided."""
    for alg, enc in _encryptions():
        if getattr(metadata, enc) is not None and getattr(metadata, alg) is None:
            raise invalid_metadata(f"{enc} needs {alg}.")


def pairwise_subjects_have_a_sector(metadata: ClientMetadata) -> None:
    """OpenID Connect Core section 8.1: one host, or a document that lists the URIs of several."""
    if metadata.sector is None or metadata.sector_identifier_uri is not None:
        return
    if not is_one_host(metadata.sector):
        raise invalid_metadata(
            "The subject_type pairwise needs a sector_identifier_uri, unless all redirect_uris have the same host, and"
            " it is not this device."
        )


def encrypted_userinfo_is_signed(metadata: ClientMetadata) -> None:
    """Anybody can encrypt for the client, so encryption alone does not tell who did."""
    if metadata.userinfo_encrypted_response_alg is not None and metadata.userinfo_signed_response_alg is None:
        raise invalid_metadata("userinfo_encrypted_response_alg needs userinfo_signed_response_alg.")


def _encryptions() -> Iterator[tuple[str, str]]:
    """The members of key encryption, each with the member of content encryption."""
    for name in ClientMetadata.__struct_fields__:
        if name.endswith("_encrypted_response_alg"):
            yield name, f"{name.removesuffix('_alg')}_enc"


CHECKS = (content_encryption_has_a_key, encrypted_userinfo_is_signed, pairwise_subjects_have_a_sector)
