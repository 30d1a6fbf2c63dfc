"""Settings come from flags, then the environment, then defaults, and wrong ones are named."""

import os
from pathlib import Path

import pytest

from gputel.config.resolve import Origin, from_environment, mistaken_service_links, resolve, specs
from gputel.config.values import check_broker_url
from gputel.errors import ConfigError


def test_flag_wins_over_environment_and_environment_over_default():
    environ = {"GPUTEL_RATE": "5", "GPUTEL_WORKERS": "7"}
    resolved = resolve({"rate": "9"}, environ)
    assert resolved.settings.streamer.rate == 9
    assert resolved.settings.collector.workers == 7
    assert resolved.origins["rate"] is Origin.FLAG
    assert resolved.origins["workers"] is Origin.ENVIRONMENT
    assert resolved.origins["api_port"] is Origin.DEFAULT


def test_a_command_may_have_defaults_of_its_own_which_the_environment_overrides():
    resolved = resolve({}, {"GPUTEL_RATE": "5"}, {"rate": 0.0, "timestamps": "source"})
    assert resolved.settings.streamer.rate == 5
    assert resolved.settings.streamer.timestamps == "source"


def test_empty_environment_variable_counts_as_not_set():
    assert resolve({}, {"GPUTEL_RATE": ""}).settings.streamer.rate == 250


A_LOOP = (True, "processing", 250.0)
ONCE = (False, "source", 0.0)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, A_LOOP),
        ({"csv": "a.csv"}, ONCE),
        ({"csv": "a.csv", "follow": True}, ONCE),
        ({"csv": "a.csv", "loop": True}, A_LOOP),
        ({"loop": False}, ONCE),
        ({"csv": "a.csv", "timestamps": "processing"}, (False, "processing", 0.0)),
        ({"csv": "a.csv", "rate": "9"}, (False, "source", 9.0)),
        ({"csv": "a.csv", "loop": True, "rate": "0"}, (True, "processing", 0.0)),
    ],
)
def test_a_named_file_is_read_once_with_its_own_times_unless_told_otherwise(flags, expected):
    resolved = resolve(flags, {})
    streamer = resolved.settings.streamer
    assert (streamer.loop, streamer.timestamps, streamer.rate) == expected
    for name in ("loop", "timestamps", "rate"):
        assert resolved.origins[name] is (Origin.FLAG if name in flags else Origin.DEFAULT)


@pytest.mark.parametrize(
    ("flags", "environ", "words"),
    [
        ({"rate": "fast"}, {}, ["--rate", "'fast'"]),
        ({"rate": "nan"}, {}, ["--rate", "finite"]),
        ({"base_path": "gputel"}, {}, ["--base-path", "/gputel"]),
        ({"base_path": "//evil.example"}, {}, ["--base-path", "/gputel"]),
        ({"stream_id": "n\udcff"}, {}, ["--stream-id", "is not UTF-8 text"]),
        ({}, {"GPUTEL_HOST": "n\udcff"}, ["GPUTEL_HOST", "is not UTF-8 text"]),
        ({"rate": "-1"}, {}, ["--rate", "-1"]),
        ({}, {"GPUTEL_API_PORT": "70000"}, ["GPUTEL_API_PORT", "70000", "65535"]),
        ({}, {"GPUTEL_API_PORT": "80.5"}, ["GPUTEL_API_PORT", "whole number"]),
        ({}, {"GPUTEL_LOOP": "maybe"}, ["GPUTEL_LOOP", "neither true nor false"]),
        ({"timestamps": "now"}, {}, ["--timestamps", "processing", "source"]),
        ({}, {"GPUTEL_RATTE": "1"}, ["GPUTEL_RATTE", "no such setting"]),
        ({"broker_url": "localhost:8081"}, {}, ["--broker-url", "must look like http://"]),
        ({"broker_url": "http://a:port"}, {}, ["--broker-url", "must look like http://"]),
        ({"broker_url": "http://a:1,b:1"}, {}, ["--broker-url", "'b:1'", "http://"]),
        ({"postgres_dsn": "host=x"}, {}, ["--postgres-dsn", "postgresql://"]),
        ({"data_dir": ""}, {}, ["--data-dir", "empty"]),
        ({"csv": "~nobody-of-that-name/x"}, {}, ["--csv", "no such home", "full path"]),
        ({"retention": "30"}, {}, ["--retention", "'30'", "30d, 12h"]),
        ({"retention": "0d"}, {}, ["--retention", "less", "1m"]),
        ({"retention": "1.5d"}, {}, ["'1.5d'", "a whole number of", "1m to 36500d is allowed"]),
        ({"scrape_interval": "10ms"}, {}, ["--scrape-interval", "'10ms'", "1s to 1d is allowed"]),
        ({"scrape_interval": "0s"}, {}, ["--scrape-interval", "0s is less", "allowed, 1s"]),
        ({"future_limit": "soon"}, {}, ["--future-limit", "'soon'", "36500d or less is allowed"]),
        ({"drain_deadline_s": "5s"}, {}, ["'5s' is not a number of seconds; 0 or more"]),
        ({"ledger_window_h": "1h"}, {}, ["'1h' is not a number of hours; 0 or more"]),
        ({"retention": "36501d"}, {}, ["--retention", "36501d", "more", "36500d"]),
        ({}, {"GPUTEL_FUTURE_LIMIT": "-1d"}, ["GPUTEL_FUTURE_LIMIT", "'-1d'"]),
    ],
)
def test_wrong_setting_is_one_error_that_names_it(flags, environ, words):
    with pytest.raises(ConfigError) as raised:
        resolve(flags, environ)
    assert raised.value.exit_code == 2
    for word in words:
        assert word in raised.value.message


SERVICE_LINKS = {
    "GPUTEL_API_SERVICE_HOST": "10.0.0.1",
    "GPUTEL_API_SERVICE_PORT": "8080",
    "GPUTEL_API_SERVICE_PORT_HTTP": "8080",
    "GPUTEL_API_PORT": "tcp://10.0.0.1:8080",
    "GPUTEL_API_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    "GPUTEL_API_PORT_8080_TCP_PROTO": "tcp",
    "GPUTEL_API_PORT_8080_TCP_ADDR": "10.0.0.1",
    "GPUTEL_BROKER_PORT": "tcp://[fd00::1]:8081",
    "GPUTEL_HEALTH_PORT": "udp://10.0.0.3:53",
    "GPUTEL_PORT": "tcp://10.0.0.2:80",
    "GPUTEL_SERVICE_HOST": "10.0.0.2",
    "GPUTEL_CANARY_API_PORT": "sctp://10.0.0.4:9",
    "GPUTEL_CANARY_API_PORT_9_SCTP_PORT": "9",
}


def test_service_links_of_kubernetes_are_no_settings_and_no_errors():
    resolved = resolve({}, SERVICE_LINKS)
    assert resolved.settings == resolve({}, {}).settings
    assert set(resolved.origins.values()) == {Origin.DEFAULT}
    assert from_environment("api_port", SERVICE_LINKS) == 8080


def test_service_links_with_the_name_of_a_setting_are_listed():
    assert mistaken_service_links(SERVICE_LINKS) == [
        "GPUTEL_API_PORT=tcp://10.0.0.1:8080",
        "GPUTEL_BROKER_PORT=tcp://[fd00::1]:8081",
        "GPUTEL_HEALTH_PORT=udp://10.0.0.3:53",
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GPUTEL_API_PORT", "http://10.0.0.1:8080"),
        ("GPUTEL_API_PORT", "tcp://"),
        ("GPUTEL_API_PORT", "tcp://10.0.0.1"),
        ("GPUTEL_RATE", "tcp://10.0.0.1:8080"),
        ("GPUTEL_API_SERVICE", "10.0.0.1"),
        ("GPUTEL_X_PORT", "8080"),
        ("GPUTEL_MY_SERVICE_HOSTS", "a"),
    ],
)
def test_what_only_looks_like_a_service_link_is_an_error_that_names_it(name, text):
    with pytest.raises(ConfigError, match=name):
        resolve({}, {name: text})


def test_a_user_without_a_home_has_the_system_s_data_directory(monkeypatch):
    """A uid without a line in /etc/passwd and no HOME, as in containers."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 123_456)
    monkeypatch.setattr(os, "getuid", lambda: 123_456)
    assert resolve({}, {}).settings.common.data_dir == Path("/var/lib/gputel")
    with pytest.raises(ConfigError, match=r"--csv: '~/x.csv': there is no such home directory"):
        resolve({"csv": "~/x.csv"}, {})
    assert resolve({"data_dir": "/data"}, {}).settings.common.data_dir == Path("/data")


def test_parsed_types_match_the_fields():
    environ = {"GPUTEL_CSV": "~/x.csv", "GPUTEL_CHUNK_ROWS": "1_000", "GPUTEL_LOOP": "off"}
    settings = resolve({}, environ).settings.streamer
    assert settings.csv == Path("~/x.csv").expanduser()
    assert settings.chunk_rows == 1000
    assert settings.loop is False


def test_every_setting_has_help_and_a_name_of_its_own():
    declared = specs()
    assert all(spec.meta.help.endswith(".") for spec in declared)
    assert len({spec.name for spec in declared}) == len(declared)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("30d", "30d"), ("12h", "12h"), ("90m", "90m"), ("48h", "2d"), ("61s", "61s")],
)
def test_a_time_span_is_written_as_people_write_it(text, shown):
    settings = resolve({"retention": text}).settings
    assert str(settings.collector.retention) == shown


@pytest.mark.parametrize(
    "wrong", ["a:8081", "dns+https://a:1", "dns+http://", "http://a:x", "b", "http://a:1,b:1", ""]
)
def test_what_is_no_address_of_a_broker_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"--broker-url: '.*' must look like http://"):
        check_broker_url(wrong)


@pytest.mark.parametrize("right", ["http://a", "https://a:1/x", "http://a:1, dns+http://b:2"])
def test_addresses_of_brokers_are_accepted(right):
    check_broker_url(right)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:a/SECRET1234@h/db",
        "postgresql://u:a?SECRET1234@127.0.0.1:1/db",
        "postgresql://u:SECRET1234#x@h/db",
        "postgresql://u:a@SECRET1234@h/db",
        "postgresql://u:12/SECRET1234@h/db",
        "postgresql://u:12?SECRET1234@h/db",
        "postgresql://u:SECRET1234\nx@h/db",
        "postgresql://u:SECRET1234",
        "host=h password=SECRET1234",
    ],
)
def test_a_dsn_that_libraries_take_otherwise_is_refused_without_showing_it(dsn):
    with pytest.raises(ConfigError, match="--postgres-dsn: must look like") as caught:
        resolve({"postgres_dsn": dsn})
    assert "SECRET" not in caught.value.message
    assert "%2F" in caught.value.message


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p%40s%2Fs@h:5432/db?sslmode=require",
        "postgres://u@/db?host=/tmp/x&port=5432",
        "postgresql://h1:1,h2:2/db?user=me@corp",
        "postgresql://u:p:q@[::1]:5432/db",
        "postgresql:///db",
    ],
)
def test_a_dsn_that_means_one_thing_is_taken(dsn):
    assert resolve({"postgres_dsn": dsn}).settings.postgres.postgres_dsn == dsn


@pytest.mark.parametrize("token", ["SECRET SECRET1234", "SECRET\nSECRET1234", "SECRÉT1234SECRET"])
def test_a_token_with_other_characters_is_refused_without_showing_it(token):
    with pytest.raises(ConfigError, match=r"--token: character \d of the token") as caught:
        resolve({"token": token})
    assert "SECR" not in caught.value.message


def test_a_line_feed_at_the_end_of_a_token_does_not_count():
    assert resolve({}, {"GPUTEL_TOKEN": "abc\n"}).settings.common.token == "abc"


@pytest.mark.parametrize("url", ["http://u:SECRET@h:1", "http://SECRET@h", "http://u:S/ECRET@h"])
def test_a_user_in_the_url_of_a_broker_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError, match="--broker-url: has a user or password") as caught:
        resolve({"broker_url": url})
    assert "ECRET" not in caught.value.message


@pytest.mark.parametrize(
    "url", ["http://h:1/?x=SECRET", "http://h:1/#SECRET", "dns+http://h?SECRET"]
)
def test_a_query_in_the_url_of_a_broker_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError, match=r"--broker-url: has something behind a \?") as caught:
        resolve({"broker_url": url})
    assert "SECRET" not in caught.value.message


def test_an_origin_with_a_password_is_refused_without_showing_it():
    with pytest.raises(ConfigError, match="--cors-origins") as caught:
        resolve({"cors_origins": "https://u:SECRET@h/"})
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize("url", ["http://a..b:1", "http://" + "h" * 64, "http://h/\xfc", "http://"])
def test_a_url_whose_host_nobody_can_look_up_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="must look like"):
        check_broker_url(url)


def test_a_secret_that_is_not_utf8_is_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"^--token: is not UTF-8 text$"):
        resolve({"token": "geheim\udcff"}, {})


def test_a_path_may_have_any_bytes() -> None:
    path = resolve({"data_dir": "/d\udcff"}, {}).settings.common.data_dir
    assert os.fsencode(path) == b"/d\xff"
