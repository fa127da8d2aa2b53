"""The answer of the probe: how a request of the doctor arrived at the server."""

import msgspec

#: Headers of a request to the probe.
TOKEN, PADDING = "x-doctor-token", "x-doctor-padding"
PATH = "/doctor/probe"
#: The query parameter with the number of bytes that the answer has in a header.
ANSWER_BYTES = "answer_bytes"
MAX_ANSWER_BYTES = 8192


class Arrival(msgspec.Struct, frozen=True):
    """A request of the doctor, as the server saw it.

    Attributes:
        nonce, proof: show that this is a fresh answer of a server with the same master key.
        peer: address and port of the other end of the connection.
        trusted: whether the peer is a trusted proxy.
        address: that the server takes for the client's.
        forwarded_for: the values of X-Forwarded-For.
        certificate_header, certificate: name and values of the header for client certificates; empty without mutual
            TLS.
        cookie: the cookie that this answer sets, as the server wrote it.
        returned: the value of the same cookie in the request.
        padding: length of the header that the doctor filled.
        body: length of the body.
        discovery, jwks: SHA-256 of the documents that this process serves.
        cached: the Cache-Control of both.
    """

    nonce: str
    proof: str
    version: str
    peer: tuple[str, int]
    trusted: bool
    address: str
    forwarded_for: list[str]
    host: str
    authorization: str
    certificate_header: str
    certificate: list[str]
    cookie: str
    returned: str
    padding: int
    body: int
    discovery: str
    jwks: str
    cached: str
