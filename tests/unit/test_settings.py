from __future__ import annotations

from pathlib import Path

import pytest

from lipwright.errors import InvalidOptions
from lipwright.settings import Settings


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Remove all settings variables, and work in an empty folder."""
    monkeypatch.delenv("LIPWRIGHT_CONFIG", raising=False)
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LIPWRIGHT_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_arguments_override_environment_file_and_defaults_in_this_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "lipwright.toml").write_text("slots = 2\nport = 2000\nhost = '::1'\n")
    monkeypatch.setenv("LIPWRIGHT_SLOTS", "3")
    monkeypatch.setenv("LIPWRIGHT_PORT", "3000")
    settings = Settings.load(slots=4, max_attempts=None)
    assert (settings.slots, settings.port, settings.host) == (4, 3000, "::1")
    assert settings.max_attempts == Settings().max_attempts
    assert settings.origins == {
        "slots": "argument",
        "port": "LIPWRIGHT_PORT",
        "host": "lipwright.toml",
    }


def test_the_constructor_reads_no_environment_and_no_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "lipwright.toml").write_text("slots = 2\n")
    monkeypatch.setenv("LIPWRIGHT_PORT", "3000")
    assert (Settings().slots, Settings().port) == (1, 8800)


def test_a_settings_file_can_be_selected_by_variable_or_argument(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "lipwright.toml").write_text("slots = 2\n")
    (tmp_path / "a.toml").write_text("slots = 5\n")
    (tmp_path / "b.toml").write_text("slots = 6\n")
    monkeypatch.setenv("LIPWRIGHT_CONFIG", "a.toml")
    assert Settings.load().slots == 5
    assert Settings.load(Path("b.toml")).slots == 6


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIPWRIGHT_PUBLIC_URL", "")
    assert Settings.load().public_url is None


def test_the_data_folder_follows_the_platform(monkeypatch: pytest.MonkeyPatch, home: Path):
    assert Settings.load().data_dir == home / ".local/share/lipwright"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert Settings.load().data_dir == Path("/data/lipwright")
    assert Settings.load(data_dir="~/mine").data_dir == home / "mine"


def test_the_default_database_is_a_file_in_the_data_folder(tmp_path: Path):
    assert Settings(data_dir=tmp_path).database == f"sqlite:///{tmp_path}/lipwright.sqlite3"
    assert Settings(database_url="postgresql://db/x").database == "postgresql://db/x"


def test_allowed_hosts_are_read_from_a_list_or_a_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("LIPWRIGHT_FETCH_ALLOW", "media.lan, 10.0.0.0/8")
    assert Settings.load().fetch_allow == ("media.lan", "10.0.0.0/8")
    monkeypatch.delenv("LIPWRIGHT_FETCH_ALLOW")
    (tmp_path / "lipwright.toml").write_text('fetch_allow = ["a.lan", "b.lan"]\n')
    assert Settings.load().fetch_allow == ("a.lan", "b.lan")


def test_the_public_url_loses_its_trailing_slash():
    url = Settings(public_url="https://dub.example.org/api/").public_url
    assert url == "https://dub.example.org/api"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("slots", "0", "slots '0' (LIPWRIGHT_SLOTS)"),
        ("slots", "many", "LIPWRIGHT_SLOTS"),
        ("port", "65536", "65535"),
        ("port", "tcp://10.0.0.1:8800", "LIPWRIGHT_PORT"),  # set by container orchestrators
        ("retention_seconds", "nan", "retention_seconds"),
        ("retention_seconds", "-1", "greater than 0"),
        ("lease_seconds", "2", "heartbeat_seconds"),
        ("public_url", "dub.example.org", "https://dub.example.org"),
        ("public_url", "https://dub.example.org/?a=b", "no query"),
        ("public_url", "https://me@dub.example.org", "no user name"),
        ("log_level", "loud", "'debug'"),
        ("host", " ", "host"),
    ],
)
def test_an_invalid_value_is_named_with_its_origin(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"LIPWRIGHT_{name.upper()}", value)
    with pytest.raises(InvalidOptions) as raised:
        Settings.load()
    assert says in str(raised.value)


def test_all_invalid_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIPWRIGHT_SLOTS", "0")
    with pytest.raises(InvalidOptions, match=r"port 99999 \(argument\).*slots '0'"):
        Settings.load(port=99999)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("slot = 2", "'slot': did you mean slots"),
        ("bananas = 2", "'bananas'; 'lipwright config'"),
        ("slots = ", "lipwright.toml"),
        ("[server]\nslots = 2", "'server'"),
    ],
)
def test_an_invalid_settings_file_is_refused(text: str, says: str, tmp_path: Path):
    (tmp_path / "lipwright.toml").write_text(text)
    with pytest.raises(InvalidOptions) as raised:
        Settings.load()
    assert says in str(raised.value)


@pytest.mark.parametrize("contents", [None, b"\xff\xfe"])
def test_an_unreadable_settings_file_is_refused(contents: bytes | None, tmp_path: Path):
    if contents is not None:
        (tmp_path / "x.toml").write_bytes(contents)
    with pytest.raises(InvalidOptions, match=r"x\.toml"):
        Settings.load(Path("x.toml"))


def test_the_password_of_the_database_is_never_shown(monkeypatch: pytest.MonkeyPatch):
    url = "postgresql://me:hunter2@db/x"
    assert "hunter2" not in repr(Settings(database_url=url))
    with pytest.raises(InvalidOptions) as raised:
        Settings.load(database_url=["hunter2"])
    assert "hunter2" not in str(raised.value)


def test_settings_are_immutable():
    with pytest.raises(ValueError, match="frozen"):
        Settings().slots = 2  # type: ignore[misc]


def test_every_setting_is_documented_and_in_a_group():
    assert all(field.description for field in Settings.model_fields.values())
    names = list(Settings.model_fields)
    assert set(Settings.groups) <= set(names)
    assert next(iter(Settings.groups)) == names[0]
