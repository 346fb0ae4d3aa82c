"""RFC 2136: signed updates to a name server of one's own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.tsigkeyring
import dns.update
from dns.rcode import Rcode

from composia.controller.dns.base import Change, Overtaken, Present
from composia.errors import Failure
from composia.model.config import Ddns
from composia.model.dns import DnsTarget, normal

#: Seconds for one answer, and how often it is asked for.
PATIENCE = 4.0
TRIES = 2
#: What is looked at: the types that we write, and those that a CNAME cannot be beside.
TYPES = ("A", "AAAA", "CNAME", "TXT", "MX", "SRV", "CAA", "HTTPS", "NS", "SSHFP")
WRITTEN = ("A", "AAAA", "CNAME")
_NOT_AS_SEEN = (Rcode.YXDOMAIN, Rcode.YXRRSET, Rcode.NXRRSET, Rcode.NXDOMAIN)
_KEY_HINT = "Compare keyname, keysecret and algorithm under controller.dns.ddns with the server's."


class DdnsProvider:
    """A BIND, Knot or PowerDNS that takes updates signed with one key."""

    def __init__(self, config: Ddns) -> None:
        self._config = config

    async def find(self, zone: str, hostname: str) -> tuple[Present, ...]:
        """See `Provider.find`."""
        found = await asyncio.gather(*(self._records(hostname, type_) for type_ in TYPES))
        records = tuple(record for records in found for record in records)
        if records and not await self._is_in_zone(zone, hostname):
            return ()
        return records

    async def change(self, target: DnsTarget, seen: Sequence[Present], change: Change) -> None:
        """See `Provider.change`: the server compares and changes in one go."""
        update = self._update(target.zone)
        _require(update, _name(target.hostname), seen)
        for record in change.remove:
            update.delete(_name(target.hostname), record.type, _rdata(record))
        for record in change.add:
            update.add(_name(target.hostname), record.ttl, record.type, _rdata(record))
        code = await self._send(update)
        if code in _NOT_AS_SEEN:
            raise Overtaken
        self._refuse(code, f"the update of {target.hostname}", target.zone)

    async def shown(self, target: DnsTarget) -> set[str] | None:
        """See `Provider.shown`: it is the name server that has been asked already."""
        return None

    async def _records(self, hostname: str, type_: str) -> list[Present]:
        query = dns.message.make_query(_name(hostname), type_, flags=dns.flags.Flag(0))
        query.use_tsig(self._key(), algorithm=self._config.algorithm)
        answer = await self._exchange(query)
        if answer.rcode() != Rcode.NXDOMAIN:
            self._refuse(answer.rcode(), f"a question for {hostname}", hostname)
        return [record for rrset in answer.answer for record in _presents(rrset, hostname, type_)]

    async def _is_in_zone(self, zone: str, hostname: str) -> bool:
        """An update that changes nothing: its condition, unlike a question, meets no wildcard."""
        update = self._update(zone)
        update.present(_name(hostname))
        code = await self._send(update)
        if code == Rcode.NXDOMAIN:
            return False
        self._refuse(code, f"updates of {zone}", zone)
        return True

    def _update(self, zone: str) -> dns.update.UpdateMessage:
        key = self._key()
        return dns.update.UpdateMessage(
            _name(zone), keyring=key, keyname=key.name, keyalgorithm=key.algorithm
        )

    def _key(self) -> dns.tsig.Key:
        secret = self._config.keysecret.get_secret_value().strip()
        try:
            decoded = base64.b64decode(secret, validate=True)
        except binascii.Error:
            raise Failure("controller.dns.ddns.keysecret is not base64", hint=_KEY_HINT) from None
        return dns.tsig.Key(_name(self._config.keyname), decoded, self._config.algorithm + ".")

    async def _send(self, update: dns.update.UpdateMessage) -> Rcode:
        return (await self._exchange(update)).rcode()

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        where = await self._address()
        for last in (False,) * (TRIES - 1) + (True,):
            try:
                answer = await self._over_the_net(message, where)
            except dns.tsig.PeerError as error:
                raise self._bad_key(error) from None
            except (dns.exception.Timeout, OSError, EOFError) as error:
                if last:
                    raise self._unreachable(error) from error
            except dns.exception.DNSException as error:
                raise Failure(
                    f"{self._server} answers what is no DNS: {type(error).__name__}",
                    hint=_KEY_HINT,
                ) from None
            else:
                self._refuse_unsigned(answer)
                return answer
        raise AssertionError("the last try raises")

    async def _over_the_net(self, message: dns.message.Message, where: str) -> dns.message.Message:
        port = self._config.port
        if isinstance(message, dns.update.UpdateMessage):
            try:
                return await dns.asyncquery.tcp(message, where, PATIENCE, port)
            except ConnectionRefusedError:
                return await dns.asyncquery.udp(message, where, PATIENCE, port)
        answer, _ = await dns.asyncquery.udp_with_fallback(message, where, PATIENCE, port)
        return answer

    async def _address(self) -> str:
        loop, config = asyncio.get_running_loop(), self._config
        try:
            found = await loop.getaddrinfo(config.nameserver, config.port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise self._unreachable(error) from error
        return str(found[0][4][0])

    @property
    def _server(self) -> str:
        return f"the name server {self._config.nameserver} port {self._config.port}"

    def _unreachable(self, error: Exception) -> Failure:
        reason = "no answer" if isinstance(error, dns.exception.Timeout) else str(error)
        return Failure(
            f"{self._server} cannot be reached: {reason or type(error).__name__}",
            hint="Check nameserver and port under controller.dns.ddns, and whether it runs. "
            "Asking again is safe.",
        )

    def _bad_key(self, error: dns.tsig.PeerError) -> Failure:
        reasons = {
            dns.tsig.PeerBadKey: "does not know the key",
            dns.tsig.PeerBadSignature: "finds the signature wrong",
            dns.tsig.PeerBadTime: "finds the time wrong: are both clocks right?",
        }
        reason = reasons.get(type(error), "refuses the signature")
        return Failure(f"{self._server} {reason} ({self._config.keyname})", hint=_KEY_HINT)

    def _refuse_unsigned(self, answer: dns.message.Message) -> None:
        if answer.rcode() == Rcode.NOERROR and not answer.had_tsig:
            raise Failure(f"{self._server} does not sign its answers", hint=_KEY_HINT)

    def _refuse(self, code: Rcode, what: str, where: str) -> None:
        if code == Rcode.NOERROR:
            return
        hints = {
            Rcode.REFUSED: f"Does its zone allow updates with the key {self._config.keyname}?",
            Rcode.NOTAUTH: f"Does it serve the zone {where}, and is it the primary? {_KEY_HINT}",
            Rcode.NOTZONE: "Compare `zones` under controller.dns.ddns with its zones.",
        }
        raise Failure(
            f"{self._server} refuses {what}: {dns.rcode.to_text(code)}",
            hint=hints.get(code, "Its log says why. Asking again is safe."),
        )


def _require(
    update: dns.update.UpdateMessage, name: dns.name.Name, seen: Sequence[Present]
) -> None:
    """The name is still as it was seen."""
    if not seen:
        update.absent(name)
        return
    for type_ in WRITTEN:
        records = [record for record in seen if record.type == type_]
        if not records:
            update.absent(name, type_)
        for record in records:
            update.present(name, type_, _rdata(record))


def _presents(rrset: dns.rrset.RRset, hostname: str, type_: str) -> list[Present]:
    """Only what was asked for: an alias brings what it leads to along."""
    same_name = normal(rrset.name.to_text()) == normal(hostname)
    if not same_name or dns.rdatatype.to_text(rrset.rdtype) != type_:
        return []
    return [Present(type_, normal(rdata.to_text()), rrset.ttl) for rdata in rrset]


def _rdata(record: Present) -> str:
    return f"{record.value}." if record.type == "CNAME" else record.value


def _name(text: str) -> dns.name.Name:
    return dns.name.from_text(text.removesuffix(".") + ".")
