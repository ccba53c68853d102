"""Which addresses may be connected to, and how a URL is read (pure).

A URL has one reading here: what cannot be read in one way only is refused, never guessed at, so no
other parser can see another host in it. The request is later made from these parts, not the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from urllib.parse import quote

import idna

from lipwright.errors import InvalidOptions, SourceUnreachable

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

MAX_URL = 8192  # characters
MAX_HOST = 253  # characters, as DNS has it
MAX_SHOWN = 160  # characters of a URL in a message
PORTS = {"http": 80, "https": 443}
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# The IANA special-purpose registries, and addresses in public space behind which clouds keep their
# metadata. Of IPv6 only 2000::/3 is handed out, so all else is refused without a table.
_SPECIAL_4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a metadata service",  # Azure
    "169.254.0.0/16": "link-local",  # and the metadata services of most clouds
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",  # Oracle's metadata too
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "a tunnel",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
_SPECIAL_6 = {
    "::/128": "unspecified",
    "::1/128": "loopback",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "ff00::/8": "multicast",
    "2001::/23": "reserved",  # Teredo tunnels too
    "2001:db8::/32": "for documentation",
    "2002::/16": "a tunnel",  # 6to4, which leads to an IPv4 address of the writer's choice
    "3fff::/20": "for documentation",
}
_REFUSED: list[tuple[Network, str]] = [
    (ip_network(n), why) for n, why in (_SPECIAL_4 | _SPECIAL_6).items()
]
_GLOBAL_6 = IPv6Network("2000::/3")
_CARRIERS = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # mapped, NAT64

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_REST = re.compile(r"//([^/?#]*)([^#]*)(?:#.*)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """Hosts and networks that may be reached although they are not public."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> Allowed:
        """Read host names, addresses and networks such as ``10.0.0.0/8``.

        Raises:
            InvalidOptions: an entry is none of these.
        """
        hosts, networks = set(), []
        for entry in entries:
            text = entry.strip().strip("[]")
            try:
                networks.append(ip_network(text))
            except ValueError:
                hosts.add(_allowed_name(text))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def names(self, url: Url) -> bool:
        """Whether the very host that *url* is written with is listed."""
        if url.literal is not None:
            return self.covers(url.literal)
        return url.host in self.hosts

    def covers(self, address: Address) -> bool:
        """Whether *address* lies in a listed network."""
        forms = {address, carried(address) or address}
        return any(a in n for n in self.networks for a in forms if a.version == n.version)


@dataclass(frozen=True, kw_only=True)
class Url:
    """A URL, taken apart."""

    scheme: str  #: ``http`` or ``https``
    host: str  #: lower-case ASCII name without final dot, or an address without brackets
    port: int
    target: str  #: path and query, ASCII
    literal: Address | None = None  #: the host, when it is an address

    @property
    def authority(self) -> str:
        """Host, and port unless it is the usual one, as in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def shown(self) -> str:
        """What messages and logs may say: no query, as it may hold a secret."""
        path = self.text.partition("?")[0]
        return path if len(path) <= MAX_SHOWN else f"{path[:MAX_SHOWN]}…"


def parse_url(text: str) -> Url:
    """Take an ``http`` or ``https`` URL apart.

    Raises:
        InvalidOptions: it is another kind, or cannot be read in one way only.
    """
    if len(text) > MAX_URL:
        raise InvalidOptions(f"the URL is longer than {MAX_URL} characters: use a shorter one")
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in text):
        raise InvalidOptions(
            "the URL has a space, a control character or a backslash in it: encode it as %20 or "
            "the like, or leave it out"
        )
    scheme, rest = _web(text)
    host, port = _split(rest[1])
    name = read_host(host)
    path = rest[2]
    return Url(
        scheme=scheme,
        host=name,
        port=PORTS[scheme] if port is None else port,
        target=quote(path if path.startswith("/") else f"/{path}", safe=PRINTABLE),
        literal=_literal(name),
    )


def read_host(text: str) -> str:
    """Return a host in its one spelling: a lower-case ASCII name, or an address.

    Raises:
        InvalidOptions: it is neither; addresses in decimal, octal, hexadecimal or shortened
            notation are refused, and so are zones.
    """
    if text.startswith("[") and text.endswith("]"):
        return _address_6(text[1:-1])
    name = _ascii(text).lower()
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidOptions(f"{_quoted(text)} is no host name: check the URL")
    if _NUMBER.fullmatch(labels[-1]):
        return _address_4(name)
    return name


def refusal(address: Address, allowed: Allowed) -> str | None:
    """Return why *address* may not be connected to, None when it may."""
    if allowed.covers(address):
        return None
    plain = carried(address) or address
    for network, why in _REFUSED:
        if plain.version == network.version and plain in network:
            return why
    if plain.version == 6 and plain not in _GLOBAL_6:
        return "reserved"
    return None


def check(url: Url, allowed: Allowed) -> None:
    """Refuse what can be refused without asking for the addresses of the host.

    Raises:
        InvalidOptions: plain http to a host that is not allowed by name.
        SourceUnreachable: its address is not public.
    """
    if url.scheme != "https" and not allowed.names(url):
        raise InvalidOptions(f"{url.shown} is not encrypted: use its https:// address")
    local = url.host == "localhost" or url.host.endswith(".localhost")
    why = refusal(url.literal, allowed) if url.literal else "loopback" if local else None
    if why and not allowed.names(url):
        raise SourceUnreachable(
            f"{url.authority} is not a public address ({why}): use a public one, or have the "
            "operator add it to fetch_allow"
        )


def carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address stands for, None when it is no such form."""
    if isinstance(address, IPv6Address) and any(address in network for network in _CARRIERS):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _web(text: str) -> tuple[str, re.Match[str]]:
    """Return the scheme, and host and path apart."""
    match = _SCHEME.fullmatch(text)
    scheme = match[1].lower() if match else ""
    rest = _REST.fullmatch(match[2]) if match else None
    if scheme not in PORTS or rest is None:
        kind = f"a {scheme[:20]}: URL is" if scheme and scheme not in PORTS else "it is"
        raise InvalidOptions(f"{kind} not a web address: give one that begins with https://")
    return scheme, rest


def _split(authority: str) -> tuple[str, int | None]:
    """Return host and port of an authority."""
    if "@" in authority:
        raise InvalidOptions("the URL has a user name or a password in it: leave them out")
    host, colon, digits = authority.rpartition(":")
    if not colon or digits.endswith("]"):
        return authority, None
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= 65535):
        raise InvalidOptions("the port in the URL is no number from 1 to 65535: check the URL")
    return host, int(digits)


def _ascii(text: str) -> str:
    """Return a host name in ASCII, as DNS has it."""
    if text.isascii():
        return text
    try:
        return idna.encode(text[: MAX_HOST + 1], uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError as error:
        raise InvalidOptions(f"{_quoted(text)} is no host name: check the URL") from error


def _address_4(name: str) -> str:
    try:
        return str(IPv4Address(name))
    except ValueError as error:
        raise InvalidOptions(
            f"{_quoted(name)} is no address: write it as four decimal numbers, as 203.0.113.7"
        ) from error


def _address_6(name: str) -> str:
    try:
        if "%" in name:
            raise ValueError("zone")
        return str(IPv6Address(name))
    except ValueError as error:
        raise InvalidOptions(f"{_quoted(name)} is no IPv6 address: check the URL") from error


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _allowed_name(text: str) -> str:
    try:
        return read_host(text)
    except InvalidOptions as error:
        raise InvalidOptions(
            f"fetch_allow: {_quoted(text)} is no host, address or network: write media.lan, "
            "10.1.2.3 or 10.0.0.0/8"
        ) from error


def _quoted(text: str) -> str:
    return repr(text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")
