from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipwright.server.errors import InvalidBody
from lipwright.server.http.multipart import MultipartReader, PartHeader, SingleFileReader

MULTIPART_TYPE = "multipart/form-data; boundary=x"


def body(contents: bytes = b"bytes", *, name: str = "file", filename: str = "clip.mp4") -> bytes:
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"'
    return b"--x\r\n" + head.encode() + b"\r\n\r\n" + contents + b"\r\n--x--\r\n"


def read(raw: bytes, *, step: int = 7, kind: str = MULTIPART_TYPE) -> tuple[str, bytes]:
    part = SingleFileReader(kind)
    found = b"".join(
        piece for at in range(0, len(raw), step) for piece in part.feed(raw[at : at + step])
    )
    part.close()
    return part.name, found


@given(st.binary(max_size=300), st.integers(1, 50))
def test_the_file_is_parsed_unchanged_from_chunks_of_any_size(contents, step):
    if b"\r\n--x" not in b"\r\n" + contents:
        assert read(body(contents), step=step) == ("clip.mp4", contents)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_file_or_one_clear_error(raw):
    message = "file: "
    try:
        read(raw)
    except InvalidBody as error:
        message = str(error)
    assert message.startswith("file: ")


def test_the_file_may_have_no_name():
    raw = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc\r\n--x--'
    assert read(raw) == ("", b"abc")


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (body()[:-8], "truncated"),
        (b"--x--\r\n", "no file|malformed"),
        (body(name="video"), "unknown field 'video'"),
        (body()[:-4] + body()[3:], "more than one part"),
        (b"--x\r\nContent-Type: text/plain\r\n\r\nabc\r\n--x--", "has no Content-Disposition"),
        (b"plain", "malformed"),
        (b"--x\r\n" + b"A: " + b"b" * 10_000 + b"\r\n\r\n", "malformed"),
        (b"--x\r\n" + b"A: b\r\n" * 100 + b"\r\n", "malformed"),
    ],
)
def test_only_one_complete_file_is_accepted(raw, reason):
    with pytest.raises(InvalidBody, match=reason):
        read(raw)


@pytest.mark.parametrize(
    "kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x",
             "multipart/form-data; boundary=" + "b" * 71, "multipart/\xff; boundary=x"],
)  # fmt: skip
def test_a_type_without_a_usable_boundary_is_refused(kind):
    with pytest.raises(InvalidBody, match="boundary"):
        SingleFileReader(kind)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=50)), max_size=4),
    st.integers(1, 50),
)
def test_parts_are_parsed_unchanged_from_chunks_of_any_size(parts, step):
    raw = b""
    for name, contents in parts:
        raw += f'--x-y\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode()
        raw += contents + b"\r\n"
    raw += b"--x-y--\r\n"
    form = MultipartReader("multipart/form-data; boundary=x-y", ("body",))
    found: list[tuple[str, bytes]] = []
    for at in range(0, len(raw), step):
        for event in form.feed(raw[at : at + step]):
            if isinstance(event, PartHeader):
                found.append((event.field, b""))
            else:
                found[-1] = (found[-1][0], found[-1][1] + event)
    if parts:
        form.close()
    assert found == parts
