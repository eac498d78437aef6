"""Where this server may connect on behalf of a flow: the rules for URLs and for the addresses their names resolve to.

Pure: no name is resolved here. Resolvers read ``2130706433``, ``0x7f.1`` and ``127.1`` all as 127.0.0.1, therefore the
*resolved addresses* are judged, never the text of the host; and all of them, because a name may mix public and private
answers. What the operator lists by host or network, with the port, is allowed in addition.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias
from urllib.parse import urlsplit

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL_CHARS = 2048

_PLAIN_URL = re.compile(r"[!#-;=?-\[\]_a-z~]+", re.ASCII)  # printable ASCII without space, " < > \ ^ ` { | }
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?", re.ASCII)
_DOT_SEGMENT = re.compile(r"/(\.|%2e){1,2}(/|$)", re.IGNORECASE)
_DEFAULT_PORTS = {"https": 443, "http": 80}
_ENTRY = re.compile(
    r"(?:\[(?P<bracketed>[^\[\]]+)\]|(?P<bare>[^:\[\]]+))(?::(?P<port>[0-9]{1,5}))?|(?P<ipv6>[0-9a-f:./]+)"
)

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
#: Never public although ``is_global`` is true for some of them in some Python versions (reliability notes, 3.6).
_SPECIAL: tuple[tuple[IpNetwork, str], ...] = tuple(
    (ipaddress.ip_network(network), kind)
    for network, kind in (
        ("100.64.0.0/10", "a shared (carrier NAT) address"),
        ("168.63.129.16/32", "a cloud platform's internal address"),
        ("192.0.0.0/24", "a protocol assignment address"),
        ("192.88.99.0/24", "a relay anycast address"),
        ("198.18.0.0/15", "a benchmarking address"),
        ("240.0.0.0/4", "a reserved address"),
        ("2001::/23", "a protocol assignment address"),
        ("2001:db8::/32", "a documentation address"),
        ("3fff::/20", "a documentation address"),
        ("fd00:ec2::254/128", "a cloud metadata address"),
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """An absolute URL in parts. ``host`` is lower case, without brackets and without a final dot."""

    scheme: str
    host: str
    port: int
    path: str
    query: str = ""

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def request_target(self) -> str:
        return (self.path or "/") + (f"?{self.query}" if self.query else "")


def parse_target(url: str) -> Target:
    """Read an http(s) URL strictly.

    Raises:
        ValueError: with a sentence that names the rule that is broken.
    """
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"the URL has {len(url)} characters; the limit is {MAX_URL_CHARS}")
    if not _PLAIN_URL.fullmatch(url):
        raise ValueError(
            "the URL holds a space, a control character or a character outside ASCII; write such a path in percent "
            "encoding and such a host in its xn-- form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"the URL cannot be read: {error}") from error
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f"the URL must begin with https://, not {parts.scheme[:16]!r}")
    if "@" in parts.netloc:
        raise ValueError("the URL may not hold a user name or password")
    if "#" in url:
        raise ValueError("the URL may not have a fragment (#)")
    if _DOT_SEGMENT.search(parts.path):
        raise ValueError("the path of the URL may not hold . or .. segments")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    return Target(
        parts.scheme, _host(parts.hostname or ""), port or _DEFAULT_PORTS[parts.scheme], parts.path, parts.query
    )


@dataclass(frozen=True, slots=True)
class Allowed:
    """One line of the operator's list: a host name or a network, and the port; without one, 443 and 80."""

    place: str | IpNetwork
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """Read ``host``, ``host:port``, ``10.1.0.0/16:port``, ``fd00::/8`` or ``[fd00::/8]:port``.

        Raises:
            ValueError: naming the entry.
        """
        match = _ENTRY.fullmatch(text.strip().lower())
        if match is None:
            raise ValueError(f"{text!r} is not host[:port] or network[:port], such as provider.example.org:8443")
        bare = match["bracketed"] or match["bare"] or match["ipv6"]
        port = int(match["port"]) if match["port"] else None
        if port is not None and not 0 < port < 65536:
            raise ValueError(f"{text!r}: {port} is not a port")
        try:
            return cls(ipaddress.ip_network(bare), port)
        except ValueError:
            if not _HOST_NAME.fullmatch(bare) or not _has_letter(bare):
                raise ValueError(f"{text!r}: {bare!r} is neither a host name nor a network") from None
        return cls(bare.removesuffix("."), port)

    def covers_port(self, target: Target) -> bool:
        return target.port in _DEFAULT_PORTS.values() if self.port is None else target.port == self.port


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """What may be connected to. ``own_ports`` are our own servers on loopback; ``own_addresses`` our public addresses,
    through which nobody may come back in; ``plain_http`` lets public hosts be called without TLS, tokens and all."""

    allowed: tuple[Allowed, ...] = ()
    plain_http: bool = False
    own_ports: frozenset[int] = frozenset()
    own_addresses: frozenset[IpAddress] = field(default_factory=frozenset)

    def refusal(self, target: Target, addresses: Sequence[str]) -> str | None:
        """Why ``target`` may not be contacted at ``addresses`` (all that its name resolves to); None when it may."""
        if not addresses:
            return f"{target.host} has no address"
        for text in addresses:
            if reason := self._refusal_of_one(target, text):
                return reason
        return None

    def _refusal_of_one(self, target: Target, text: str) -> str | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return f"{target.host} resolves to something that is not an address"
        inner = _unmapped(address)
        if self._is_listed(target, inner):
            return None
        if target.scheme != "https" and not self.plain_http:
            return f"plain http is allowed only for hosts on the operator's list, and {target.host} is not; use https"
        if kind := self._forbidden_kind(inner):
            return f"{target.host} is at {kind}, and {_place(target)} is not on the operator's list"
        if (standard := _DEFAULT_PORTS[target.scheme]) != target.port:
            return f"port {target.port} is not {standard}, and {_place(target)} is not on the operator's list"
        return None

    def _is_listed(self, target: Target, address: IpAddress) -> bool:
        if address.is_loopback and target.port in self.own_ports:
            return True
        for entry in self.allowed:
            if not entry.covers_port(target):
                continue
            if isinstance(entry.place, str):
                # A listed name may be internal, but whoever controls its DNS must not reach the metadata service.
                if entry.place == target.host and not _is_never_a_server(address):
                    return True
            elif address.version == entry.place.version and address in entry.place:
                return True
        return False

    def _forbidden_kind(self, address: IpAddress) -> str | None:
        for one in _with_embedded(address):
            if one in self.own_addresses:
                return "this server's own address"
            if kind := _kind(one):
                return kind
        return None


def is_public(address: str) -> bool:
    """True when the address, and every address embedded in it, belongs to the public internet."""
    return all(_kind(one) is None for one in _with_embedded(_unmapped(ipaddress.ip_address(address))))


def _host(text: str) -> str:
    if not text:
        raise ValueError("the URL has no host")
    if ":" in text:
        try:
            return str(ipaddress.IPv6Address(text)) if "%" not in text else _no_zone(text)
        except ValueError as error:
            raise ValueError(f"the host of the URL is not an IPv6 address: {error}") from error
    if len(text) > 253 or not _HOST_NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a host name of letters, digits, dots and hyphens")
    return text.removesuffix(".")


def _no_zone(text: str) -> str:
    raise ValueError(f"{text!r} has a zone, which only means something on one machine")


def _has_letter(text: str) -> bool:
    """Names made of digits and dots alone, or 0x and digits, are addresses in disguise to resolvers."""
    return any(char.isalpha() for char in text) and not re.fullmatch(
        r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", text
    )


def _place(target: Target) -> str:
    return f"{target.host}:{target.port}"


def _unmapped(address: IpAddress) -> IpAddress:
    """``::ffff:a.b.c.d`` is a.b.c.d in another coat: the same connection is made."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _with_embedded(address: IpAddress) -> Iterable[IpAddress]:
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    low_32 = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _NAT64:
        yield low_32
    if address.sixtofour is not None:
        yield address.sixtofour
    if (int(address) >> 32) & 0xFDFF_FFFF == 0x5EFE:  # ISATAP (RFC 5214): ...:[0]200:5efe:a.b.c.d
        yield low_32


def _kind(address: IpAddress) -> str | None:
    """What keeps an address from being public, as a noun phrase."""
    if address.is_unspecified:
        return "the unspecified address"
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    for network, kind in _SPECIAL:
        if address.version == network.version and address in network:
            return kind
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:
        return None  # stands for the IPv4 address inside, which is judged by itself
    if not address.is_global:
        return "a private address"
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST:
        return "an address outside global unicast"
    return None


def _is_never_a_server(address: IpAddress) -> bool:
    return any(
        one.is_link_local or one.is_multicast or one.is_unspecified or str(one) in ("168.63.129.16", "fd00:ec2::254")
        for one in _with_embedded(address)
    )
