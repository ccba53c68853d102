from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.errors import InvalidOptions, LipwrightError, SourceUnreachable
from lipwright.net.address import (
    AllowList,
    check_allowed,
    embedded_ipv4,
    normalize_host,
    parse_url,
    refusal_reason,
)

NOTHING_ALLOWED = AllowList()

REFUSED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "carrier"),
    ("100.100.100.200", "carrier"),  # Alibaba's metadata
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata"),  # Azure, in public space
    ("169.254.169.254", "link-local"),  # AWS, GCP, Azure and others
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.192", "reserved"),  # Oracle's metadata
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "tunnel"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarks"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "reserved"),  # IPv4-compatible
    ("::8.8.8.8", "reserved"),
    ("::ffff:127.0.0.1", "loopback"),  # IPv4-mapped
    ("::ffff:10.0.0.1", "private"),
    ("::ffff:169.254.169.254", "link-local"),
    ("::ffff:0:127.0.0.1", "reserved"),  # IPv4-translated
    ("64:ff9b::127.0.0.1", "loopback"),  # NAT64
    ("64:ff9b::a00:1", "private"),
    ("64:ff9b:1::1", "reserved"),  # NAT64 of the own network
    ("100::1", "reserved"),  # discard
    ("2001::1", "reserved"),  # Teredo
    ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "tunnel"),  # 6to4 of 127.0.0.1
    ("2002:808:808::1", "tunnel"),
    ("3fff::1", "documentation"),
    ("5f00::1", "reserved"),
    ("4000::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "private"),  # AWS's metadata
    ("fe80::1", "link-local"),
    ("fe80::a9fe:a9fe", "link-local"),  # OpenStack's metadata
    ("fec0::1", "reserved"),  # site-local
    ("ff02::1", "multicast"),
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize(("address", "why"), REFUSED)
def test_addresses_that_are_not_public_are_refused_with_the_reason(address, why):
    assert why in (refusal_reason(ip_address(address), NOTHING_ALLOWED) or "public")


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address):
    assert refusal_reason(ip_address(address), NOTHING_ALLOWED) is None


@given(st.ip_addresses(v=4))
def test_ipv4_addresses_that_python_calls_not_global_are_refused(address: IPv4Address):
    if not address.is_global or address.is_multicast:
        assert refusal_reason(address, NOTHING_ALLOWED)


@given(st.ip_addresses(v=6))
def test_ipv6_addresses_that_python_calls_not_global_are_refused(address: IPv6Address):
    if not address.is_global or address.is_multicast:
        assert embedded_ipv4(address) or refusal_reason(address, NOTHING_ALLOWED)


@given(st.ip_addresses(v=4))
def test_an_embedded_ipv4_address_is_judged_like_the_address_itself(address: IPv4Address):
    for prefix in ("::ffff:0:0", "64:ff9b::"):
        inside = IPv6Address(int(IPv6Address(prefix)) + int(address))
        assert refusal_reason(inside, NOTHING_ALLOWED) == refusal_reason(address, NOTHING_ALLOWED)


def test_a_listed_network_is_allowed_in_every_form_of_its_addresses():
    allow_list = AllowList.parse(["10.1.0.0/16", "fd12::/16"])
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd12::1"):
        assert refusal_reason(ip_address(address), allow_list) is None
    for address in ("10.2.0.1", "::ffff:10.2.0.1", "fd13::1", "127.0.0.1"):
        assert refusal_reason(ip_address(address), allow_list)


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/33", "10.0.0.1/8", "media lan", "", "http://media.lan", "10.1", "*.lan"]
)
def test_an_entry_that_is_not_a_host_address_or_network_is_an_error(entry):
    with pytest.raises(InvalidOptions, match="fetch_allow"):
        AllowList.parse([entry])


HOSTS = [
    ("example.org", "example.org"),
    ("EXAMPLE.org", "example.org"),
    ("example.org.", "example.org"),
    ("my_bucket.s3.example", "my_bucket.s3.example"),
    ("8.8.8.8", "8.8.8.8"),
    ("8.8.8.8.", "8.8.8.8"),
    ("[2606:4700:4700:0::1111]", "2606:4700:4700::1111"),
    ("[::FFFF:8.8.8.8]", "::ffff:808:808"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example", "xn--bcher-kva.example"),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),  # ideographic full stop
    ("８.８.８.８", "8.8.8.8"),  # full-width digits
    ("１２７.０.０.１", "127.0.0.1"),
    ("ⓔxample.org", "example.org"),
]


@pytest.mark.parametrize(("text", "host"), HOSTS)
def test_hosts_are_normalized(text, host):
    assert normalize_host(text) == host


BAD_HOSTS = [
    "2130706433",  # 127.0.0.1 in decimal
    "0x7f000001",
    "017700000001",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.0x1",
    "1.2.3.4.5",
    "256.0.0.1",
    "999999999999",
    "0x",
    "example.0x7f",
    "①②⑦.1",
    "０x7f.1",
    "",
    ".",
    "..",
    "example..org",
    ".example.org",
    "example.org..",
    "-example.org",
    "example-.org",
    "exa mple.org",
    "example.org%00",
    "%31%32%37.0.0.1",
    "exa%mple.org",
    "example.org\x00.lan",
    "example,org",
    "localhost;x",
    "a" * 64 + ".org",
    ".".join(["a" * 60] * 5),
    "[::1",
    "::1]",
    "::1",
    "[::1%25eth0]",
    "[fe80::1%eth0]",
    "[v1.fe80::a]",
    "[127.0.0.1]",
    "[]",
    "[[::1]]",
    "xn--\udcff",
    "exa\u2028mple.org",
    "example.org／evil",  # a full-width slash
    "user＠example.org",  # a full-width at sign
    "exam℀ple.org",  # becomes a/c
    "a\u200db.org",  # a joiner out of place
]


@pytest.mark.parametrize("text", BAD_HOSTS)
def test_ambiguous_hosts_are_refused(text):
    with pytest.raises(InvalidOptions):
        normalize_host(text)


def test_a_url_is_parsed():
    url = parse_url("HTTPS://Bücher.Example:8443/a%20b/ü?q=ä&r=%00#part")
    assert (url.scheme, url.host, url.port) == ("https", "xn--bcher-kva.example", 8443)
    assert url.target == "/a%20b/%C3%BC?q=%C3%A4&r=%00"
    assert url.authority == "xn--bcher-kva.example:8443"
    assert url.redacted == "https://xn--bcher-kva.example:8443/a%20b/%C3%BC"


@pytest.mark.parametrize(
    ("text", "authority", "target"),
    [
        ("https://example.org", "example.org", "/"),
        ("https://example.org?a=/b", "example.org", "/?a=/b"),
        ("https://example.org#@evil.lan/", "example.org", "/"),
        ("https://example.org/@evil.lan", "example.org", "/@evil.lan"),
        ("https://example.org:443/x", "example.org", "/x"),
        ("http://example.org:443/x", "example.org:443", "/x"),
        ("https://[2606:4700::1]:8443/x", "[2606:4700::1]:8443", "/x"),
        ("https://example.org//evil.lan/x", "example.org", "//evil.lan/x"),
    ],
)
def test_host_and_target_are_separated_correctly(text, authority, target):
    url = parse_url(text)
    assert (url.authority, url.target) == (authority, target)


BAD_URLS = [
    "",
    "example.org/clip.mp4",
    "//example.org/clip.mp4",
    "https:example.org",
    "https:/example.org",
    "https:///etc/passwd",
    "https://",
    "https://:443/",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://example.org/x",
    "ftp://example.org/x",
    "gopher://127.0.0.1:6379/_x",
    "data:video/mp4;base64,AAAA",
    "concat:a|b",
    "subfile,,start,0,end,0,,:/etc/passwd",
    "javascript:alert(1)",
    "view-source:https://example.org",
    "https://user@example.org/",
    "https://user:password@example.org/",
    "https://example.org@127.0.0.1/",
    "https://127.0.0.1:80@example.org/",
    "https://example.org:443@127.0.0.1/",
    "https://@example.org/",
    "https://a@b@example.org/",
    "https://example.org\\@127.0.0.1/",
    "https:\\\\example.org\\x",
    "https://example.org\\.evil.lan/",
    "https://example.org:0/",
    "https://example.org:65536/",
    "https://example.org:99999999999999999999/",
    "https://example.org:/",
    "https://example.org:-1/",
    "https://example.org:8o/",
    "https://example.org:٤٤٣/",  # Arabic digits
    "https://example.org:80:81/",
    "https://[::1/",
    "https://::1/",
    "https://[::1]x/",
    " https://example.org/",
    "https://example.org/ x",
    "https://example.org/\n",
    "https://exam\tple.org/",
    "https://exam\nple.org/",
    "https://example.org/\r\nHost: evil.lan",
    "https://example.org/\x00",
    "https://example.org/\x7f",
    "https://example.org/\u2028",
    "https://example.org/\ud800",
    "ht\ntps://example.org/",
    "https://example.org/" + "a" * 9000,
]


@pytest.mark.parametrize("text", BAD_URLS)
def test_ambiguous_and_unsupported_urls_are_refused(text):
    with pytest.raises(InvalidOptions):
        parse_url(text)


def test_an_error_does_not_repeat_the_password():
    with pytest.raises(InvalidOptions) as caught:
        parse_url("https://user:hunter2@example.org/")
    assert "hunter2" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text):
    for candidate in (text, f"https://{text}", f"https://{text}/x", f"https://example.org/{text}"):
        try:
            url = parse_url(candidate)
        except InvalidOptions:
            continue
        assert parse_url(url.text) == url
        assert (url.host + url.target).isascii()


@pytest.mark.parametrize(
    "text",
    [
        "https://127.0.0.1/",
        "https://10.0.0.1:8443/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://db.localhost/",
        "https://１２７.０.０.１/",
    ],
)
def test_a_url_with_an_address_that_is_not_public_is_refused_without_dns(text):
    with pytest.raises(SourceUnreachable, match="fetch_allow"):
        check_allowed(parse_url(text), NOTHING_ALLOWED)


def test_plain_http_is_allowed_for_listed_hosts_only():
    allow_list = AllowList.parse(["media.lan", "10.0.0.0/8", "[fd00::1]"])
    for text in ("http://media.lan/x", "http://MEDIA.lan.:8080/x", "http://10.1.2.3/x"):
        check_allowed(parse_url(text), allow_list)
    check_allowed(parse_url("http://[fd00::1]/x"), allow_list)
    for text in ("http://example.org/x", "http://media.lan.evil.org/x", "http://8.8.8.8/x"):
        with pytest.raises(InvalidOptions, match="https://"):
            check_allowed(parse_url(text), allow_list)


def test_a_listed_name_allows_no_other_host():
    allow_list = AllowList.parse(["localhost"])
    check_allowed(parse_url("https://localhost/"), allow_list)
    for text in ("https://127.0.0.1/", "https://db.localhost/"):
        with pytest.raises(LipwrightError):
            check_allowed(parse_url(text), allow_list)
