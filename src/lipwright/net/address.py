"""Parse URLs strictly and decide which addresses may be connected to (no I/O).

A URL that two parsers could read differently is refused, so no other parser can see another host
in it. Requests are made from the parsed parts, not from the text.
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
MAX_HOST = 253  # characters, the limit of DNS
MAX_MESSAGE_URL = 160  # characters of a URL in a message
DEFAULT_PORTS = {"http": 80, "https": 443}
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))

# The IANA special-purpose registries, and the public addresses of cloud metadata services. IANA
# allocates only 2000::/3 of IPv6, so everything else is refused without a table.
_SPECIAL_4 = {
    "0.0.0.0/8": "unspecified",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by a carrier",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a metadata service",  # Azure
    "169.254.0.0/16": "link-local",  # and the metadata services of most clouds
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved",  # includes Oracle's metadata service
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
    "2001::/23": "reserved",  # includes Teredo tunnels
    "2001:db8::/32": "for documentation",
    "2002::/16": "a tunnel",  # 6to4: embeds an IPv4 address that the sender chooses
    "3fff::/20": "for documentation",
}
_REFUSED: list[tuple[Network, str]] = [
    (ip_network(n), why) for n, why in (_SPECIAL_4 | _SPECIAL_6).items()
]
_GLOBAL_6 = IPv6Network("2000::/3")
_IPV4_IN_IPV6 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))  # mapped, NAT64

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_REST = re.compile(r"//([^/?#]*)([^#]*)(?:#.*)?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class AllowList:
    """Hosts and networks that may be connected to although they are not public."""

    hosts: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> AllowList:
        """Parse host names, addresses and networks such as ``10.0.0.0/8``.

        Raises:
            InvalidOptions: An entry is none of these.
        """
        hosts, networks = set(), []
        for entry in entries:
            text = entry.strip().strip("[]")
            try:
                networks.append(ip_network(text))
            except ValueError:
                hosts.add(_parse_entry(text))
        return cls(hosts=frozenset(hosts), networks=tuple(networks))

    def allows_host(self, url: Url) -> bool:
        """Return whether the host of *url* is listed, by name or by address; no DNS look-up."""
        if url.address is not None:
            return self.allows_address(url.address)
        return url.host in self.hosts

    def allows_address(self, address: Address) -> bool:
        """Return whether *address*, or the IPv4 address in it, lies in a listed network."""
        forms = {address, embedded_ipv4(address) or address}
        return any(a in n for n in self.networks for a in forms if a.version == n.version)


@dataclass(frozen=True, kw_only=True)
class Url:
    """A parsed URL."""

    scheme: str  #: ``http`` or ``https``
    host: str  #: lower-case ASCII name without trailing dot, or an address without brackets
    port: int
    target: str  #: path and query, ASCII
    address: Address | None = None  #: the host, if it is written as an address

    @property
    def authority(self) -> str:
        """Host, and port unless it is the default one, as in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def text(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.target}"

    @property
    def redacted(self) -> str:
        """The URL for messages and logs: without the query, which may hold a secret."""
        path = self.text.partition("?")[0]
        return path if len(path) <= MAX_MESSAGE_URL else f"{path[:MAX_MESSAGE_URL]}…"


def parse_url(text: str) -> Url:
    """Parse an ``http`` or ``https`` URL.

    Raises:
        InvalidOptions: The scheme is another one, or the URL is ambiguous.
    """
    if len(text) > MAX_URL:
        raise InvalidOptions(f"the URL is longer than {MAX_URL} characters: use a shorter one")
    if any(c.isspace() or not c.isprintable() or c == "\\" for c in text):
        raise InvalidOptions(
            "the URL contains a space, a control character or a backslash: percent-encode it "
            "(a space is %20) or remove it"
        )
    scheme, rest = _split_scheme(text)
    host, port = _split_authority(rest[1])
    name = normalize_host(host)
    path = rest[2]
    return Url(
        scheme=scheme,
        host=name,
        port=DEFAULT_PORTS[scheme] if port is None else port,
        target=quote(path if path.startswith("/") else f"/{path}", safe=PRINTABLE),
        address=_parse_address(name),
    )


def normalize_host(text: str) -> str:
    """Return the canonical spelling of a host: a lower-case ASCII name, or an address.

    Raises:
        InvalidOptions: It is neither. Addresses in decimal, octal, hexadecimal or shortened
            notation and addresses with a zone are refused too.
    """
    if text.startswith("[") and text.endswith("]"):
        return _normalize_ipv6(text[1:-1])
    name = _to_ascii(text).lower()
    name = name.removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise InvalidOptions(f"{_quoted(text)} is not a host name: check the URL")
    if _NUMBER.fullmatch(labels[-1]):
        return _normalize_ipv4(name)
    return name


def refusal_reason(address: Address, allow_list: AllowList) -> str | None:
    """Return why *address* may not be connected to, None if it may."""
    if allow_list.allows_address(address):
        return None
    plain = embedded_ipv4(address) or address
    for network, why in _REFUSED:
        if plain.version == network.version and plain in network:
            return why
    if plain.version == 6 and plain not in _GLOBAL_6:
        return "reserved"
    return None


def check_allowed(url: Url, allow_list: AllowList) -> None:
    """Refuse a URL that can be refused without a DNS look-up.

    Raises:
        InvalidOptions: Plain http to a host that is not on the allow list.
        SourceUnreachable: The host is an address that is not public.
    """
    if url.scheme != "https" and not allow_list.allows_host(url):
        raise InvalidOptions(f"{url.redacted} is not encrypted: use its https:// address")
    local = url.host == "localhost" or url.host.endswith(".localhost")
    why = "loopback" if local else None
    if url.address is not None:
        why = refusal_reason(url.address, allow_list)
    if why and not allow_list.allows_host(url):
        raise SourceUnreachable(
            f"{url.authority} is not a public address ({why}): use a public one, or ask the "
            "operator to add it to fetch_allow"
        )


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """Return the IPv4 address in a mapped or NAT64 IPv6 address, None for any other address."""
    if isinstance(address, IPv6Address) and any(address in network for network in _IPV4_IN_IPV6):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _split_scheme(text: str) -> tuple[str, re.Match[str]]:
    """Return the scheme, and a match of authority (1) and path with query (2)."""
    match = _SCHEME.fullmatch(text)
    scheme = match[1].lower() if match else ""
    rest = _REST.fullmatch(match[2]) if match else None
    if scheme not in DEFAULT_PORTS or rest is None:
        kind = f"a {scheme[:20]}: URL" if scheme and scheme not in DEFAULT_PORTS else "it"
        raise InvalidOptions(f"{kind} is not a web address: use one that begins with https://")
    return scheme, rest


def _split_authority(authority: str) -> tuple[str, int | None]:
    """Return the host and the port of an authority."""
    if "@" in authority:
        raise InvalidOptions("the URL contains a user name or a password: remove them")
    host, colon, digits = authority.rpartition(":")
    if not colon or digits.endswith("]"):
        return authority, None
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits[:6]) <= 65535):
        raise InvalidOptions("the port in the URL is not a number from 1 to 65535: check the URL")
    return host, int(digits)


def _to_ascii(text: str) -> str:
    """Return a host name in ASCII (IDNA), as DNS uses it."""
    if text.isascii():
        return text
    try:
        return idna.encode(text[: MAX_HOST + 1], uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError as error:
        raise InvalidOptions(f"{_quoted(text)} is not a host name: check the URL") from error


def _normalize_ipv4(name: str) -> str:
    try:
        return str(IPv4Address(name))
    except ValueError as error:
        raise InvalidOptions(
            f"{_quoted(name)} is not an address: write four decimal numbers, such as 203.0.113.7"
        ) from error


def _normalize_ipv6(name: str) -> str:
    try:
        if "%" in name:
            raise ValueError("zone")
        return str(IPv6Address(name))
    except ValueError as error:
        raise InvalidOptions(f"{_quoted(name)} is not an IPv6 address: check the URL") from error


def _parse_address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _parse_entry(text: str) -> str:
    try:
        return normalize_host(text)
    except InvalidOptions as error:
        raise InvalidOptions(
            f"fetch_allow: {_quoted(text)} is not a host, address or network: write "
            "media.lan, 10.1.2.3 or 10.0.0.0/8"
        ) from error


def _quoted(text: str) -> str:
    return repr(text if len(text) <= MAX_MESSAGE_URL else f"{text[:MAX_MESSAGE_URL]}…")
