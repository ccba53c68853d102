from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from lipwright.logs import LOGGERS, accept_request_id, configure, http_request_id
from lipwright.settings import Settings


@pytest.fixture(autouse=True)
def _restore_loggers() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in (*LOGGERS, "uvicorn.access")]
    before = [(log.handlers, log.propagate, log.level, log.disabled) for log in loggers]
    yield
    for logger, (handlers, propagate, level, disabled) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
        logger.setLevel(level)


def logged(log_format: str, write) -> str:
    """Return what *write* logs in a format."""
    stream = io.StringIO()
    configure(Settings(log_format=log_format, log_level="info"), stream)
    write(logging.getLogger("lipwright.test"))
    return stream.getvalue()


def test_json_has_one_object_per_line_with_all_fields():
    token = http_request_id.set("req-1")
    try:
        text = logged("json", lambda log: log.info("took %s", "it\n", extra={"seconds": 1.5}))
    finally:
        http_request_id.reset(token)
    line = json.loads(text)
    assert text.count("\n") == 1
    assert (line["level"], line["message"], line["seconds"]) == ("info", "took it\n", 1.5)
    assert line["http_request_id"] == "req-1"
    assert line["time"].endswith("+00:00")


def test_text_has_one_line_per_record():
    line = logged("text", lambda log: log.warning("a\r\nb\x1b[31m", extra={"path": "x y\n"}))
    assert line.count("\n") == 1
    assert "a\\r\\nb\\x1b[31m" in line
    assert 'path="x y\\\\n"' in line


def test_a_traceback_follows_its_line():
    def fail(log):
        try:
            raise ValueError("broken")
        except ValueError:
            log.exception("it failed")

    assert "ValueError: broken" in logged("text", fail)
    assert "ValueError: broken" in json.loads(logged("json", fail))["traceback"]


def test_records_below_the_level_are_dropped():
    assert logged("text", lambda log: log.debug("detail")) == ""


def test_configuring_twice_does_not_double_the_lines():
    configure(Settings(), io.StringIO())
    assert logged("text", lambda log: log.info("once")).count("once") == 1


def test_the_access_log_of_uvicorn_is_off():
    configure(Settings(), io.StringIO())
    assert logging.getLogger("uvicorn.access").disabled


@pytest.mark.parametrize("good", ["a", "6f1c0d5e-8a53", "A.b_c:d-1", "x" * 128])
def test_a_safe_request_id_is_kept(good):
    assert accept_request_id(good) == good


@pytest.mark.parametrize("bad", [None, "", "x" * 129, "a b", "a\nb", "a\x00", "ä", "{}"])
def test_any_other_request_id_is_replaced(bad):
    created = accept_request_id(bad)
    assert created != bad
    assert created != accept_request_id(bad)
    assert len(created) == 32
