"""A name server on loopback, by UDP and TCP."""

import asyncio
import threading
from collections import Counter
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.support.server import free_port


class Nameserver:
    """Answers questions for TXT and MX records from tables, in a thread of its own.

    Attributes:
        address: for IDP_DNS_RESOLVER.
        records: the texts of each name, in lower case. A name that is not there does not exist.
        mail_servers: the MX records of each name, such as ``10 mail.example.``.
        silent, failing, truncated, lying: names whose questions get no answer; SERVFAIL; an answer by TCP only; the
            answer to another question.
        asked: how often each name was asked for.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.records: dict[str, list[str]] = {}
        self.mail_servers: dict[str, list[str]] = {}
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self.truncated: set[str] = set()
        self.lying: set[str] = set()
        self.asked: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait()

    def _run(self, started: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        started.set()
        self._loop.run_forever()

    async def _serve(self) -> None:
        await self._loop.create_datagram_endpoint(lambda: _Udp(self), local_addr=("127.0.0.1", self.port))
        self._tcp = await asyncio.start_server(self._connected, "127.0.0.1", self.port)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        answer = self.answer(await reader.readexactly(size), tcp=True)
        if answer is not None:
            writer.write(len(answer).to_bytes(2, "big") + answer)
            await writer.drain()
        writer.close()

    def answer(self, question: bytes, *, tcp: bool) -> bytes | None:
        """Return the response to a question, or None for no response."""
        asked = dns.message.from_wire(question)
        name = asked.question[0].name.to_text(omit_final_dot=True).lower()
        self.asked[name] += 1
        if name in self.silent:
            return None
        response = dns.message.make_response(asked)
        response.flags |= dns.flags.RA
        if name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name in self.lying:
            response.question = [dns.rrset.from_text("other.example.", 0, "IN", "TXT")]
        elif name in self.truncated and not tcp:
            response.flags |= dns.flags.TC
        elif asked.question[0].rdtype == dns.rdatatype.MX:
            if self.mail_servers.get(name):
                response.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", "MX", *self.mail_servers[name])]
        elif name not in self.records:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif self.records[name]:
            texts = [" ".join(f'"{text[start:start + 255]}"' for start in range(0, len(text), 255) or [0])
                     for text in self.records[name]]  # fmt: skip
            response.answer = [dns.rrset.from_text(f"{name}.", 60, "IN", "TXT", *texts)]
        return response.to_wire()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Udp(asyncio.DatagramProtocol):
    def __init__(self, server: Nameserver) -> None:
        self.server = server

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self.server.answer(data, tcp=False)
        if answer is not None:
            self.transport.sendto(answer, addr)
