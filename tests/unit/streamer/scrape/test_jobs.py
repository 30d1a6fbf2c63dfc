"""How a job, and what its discoveries list, make targets."""

from __future__ import annotations

import dataclasses
import socket

import pytest

from gputel.errors import ConfigError
from gputel.masking import mask
from gputel.streamer.scrape.discovery.kinds import StaticTargets
from gputel.streamer.scrape.http.credentials import Authorization, BasicAuth
from gputel.streamer.scrape.jobs import ScrapeJob, Target, from_flags, from_nvml, target_of

JOB = ScrapeJob("gpus")


@pytest.mark.parametrize(
    ("text", "url", "instance"),
    [
        ("gpu1:9400", "http://gpu1:9400/metrics", "gpu1:9400"),
        ("gpu1", "http://gpu1/metrics", "gpu1:80"),
        ("[2001:db8::1]:9400", "http://[2001:db8::1]:9400/metrics", "[2001:db8::1]:9400"),
        ("https://gpu1", "https://gpu1/metrics", "gpu1:443"),
        ("https://gpu1/", "https://gpu1/", "gpu1:443"),
        ("http://gpu1:1/a/b?x=1&y=%2F", "http://gpu1:1/a/b?x=1&y=%2F", "gpu1:1"),
    ],
)
def test_an_address_becomes_a_url_and_an_instance(text: str, url: str, instance: str) -> None:
    target = target_of(JOB, text, {})
    assert target.url == url
    assert target.labels == {"instance": instance, "job": "gpus"}


def test_the_job_decides_scheme_path_and_parameters() -> None:
    job = ScrapeJob("g", scheme="https", metrics_path="/a b", params={"collect[]": ["x", "y z"]})
    url = target_of(job, "gpu1:1", {}).url
    assert url == "https://gpu1:1/a%20b?collect%5B%5D=x&collect%5B%5D=y+z"


def test_labels_with_two_underscores_change_the_url_and_go() -> None:
    labels = {
        "__address__": "other:1",
        "__scheme__": "https",
        "__metrics_path__": "/probe",
        "__param_module": "new",
        "__meta_rack": "r7",
        "rack": "r7",
    }
    job = dataclasses.replace(JOB, params={"module": ["old", "second"]})
    target = target_of(job, "gpu1:9400", labels)
    assert target.url == "https://other:1/probe?module=new&module=second"
    assert target.labels == {"instance": "other:1", "job": "gpus", "rack": "r7"}


def test_labels_of_the_target_win_and_empty_ones_are_absent() -> None:
    target = target_of(JOB, "gpu1:1", {"instance": "mine", "job": "", "rack": ""})
    assert target.labels == {"instance": "mine", "job": "gpus"}


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.9.9.9", "[::1]"])
def test_this_machine_has_its_name_as_the_instance(host: str) -> None:
    target = target_of(JOB, f"{host}:9400", {})
    assert target.labels["instance"] == f"{socket.gethostname()}:9400"
    assert target.url == f"http://{host.lower()}:9400/metrics"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9400",
        "gpu1:",
        "gpu1:0",
        "gpu1:99999",
        "::1",
        "gpu 1:9400",
        "gpu1/metrics",
        "ftp://gpu1",
        "http://",
        "http://me:pass@gpu1",
        "http://gpu1/#a",
        "[::1",
        "gpu1:x",
        "http://gpu1/\n",
        "-x",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        target_of(JOB, text, {})


@pytest.mark.parametrize(
    ("text", "labels", "reason"),
    [
        ("gpu1", {"rack": "a\0b"}, "the label rack has a NUL character"),
        ("gpu1", {"rack": "\ud800"}, "the label rack has a NUL character or half of a surrogate"),
        ("gpu1", {"instance": "\0"}, "the label instance has"),
        ("gpu1", {"a\0": "b"}, r"the label a\\\S+ has a NUL"),
        ("gpu1", {"__param_a": "x" * 2048}, "its URL and instance have over 2048 bytes"),
        ("gpu1", {"instance": "é" * 1024}, "its URL and instance have over 2048 bytes"),
    ],
)
def test_a_target_that_the_store_cannot_keep_is_refused(
    text: str, labels: dict[str, str], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        target_of(JOB, text, labels)


def test_an_unknown_scheme_of_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="neither http nor https"):
        target_of(JOB, "gpu1:1", {"__scheme__": "gopher"})


def test_flags_make_one_job_with_the_port_of_the_exporter() -> None:
    job = from_flags(["gpu1", " gpu2:1 ", "http://gpu3", "[::1]"], 5.0)
    (static,) = job.discoveries
    assert isinstance(static, StaticTargets)
    (group,) = static.groups
    urls = [target_of(job, text, {}).url for text in group.targets]
    assert urls == [
        "http://gpu1:9400/metrics",
        "http://gpu2:1/metrics",
        "http://gpu3/metrics",
        "http://[::1]:9400/metrics",
    ]
    assert (job.name, job.interval_s, job.timeout_s) == ("dcgm", 5.0, 5.0)


def test_a_wrong_flag_is_named_without_its_password() -> None:
    with pytest.raises(ConfigError) as raised:
        from_flags(["http://admin:correcthorse@gpu1:9400"], 5.0)
    assert raised.value.message.startswith("--scrape: 'http://***@gpu1:9400': has a user")
    for text, reason in {"gpu1:x": "is not host:port", "gpu1:70000": "has a port that"}.items():
        with pytest.raises(ConfigError, match=f"--scrape: '{text}': {reason}"):
            from_flags([text], 5.0)


def test_secrets_are_in_no_repr_and_are_masked_anywhere() -> None:
    job = dataclasses.replace(JOB, auth=BasicAuth("me", "correcthorse"))
    other = dataclasses.replace(JOB, auth=Authorization(credentials="batterystaple"))
    assert "correcthorse" not in f"{job}"
    assert "batterystaple" not in repr(other)
    assert mask("correcthorse and batterystaple") == "*** and ***"


def test_nvml_is_a_job_with_this_host_as_its_target() -> None:
    job = from_nvml("gpu1", 1.0)
    (static,) = job.discoveries
    assert isinstance(static, StaticTargets)
    ((text,),) = [group.targets for group in static.groups]
    expected = Target("nvml", "nvml://gpu1", {"instance": "gpu1", "job": "nvml"})
    assert target_of(job, text, {}) == expected


def test_no_other_job_can_name_a_target_of_nvml() -> None:
    with pytest.raises(ValueError, match="must begin with http"):
        target_of(JOB, "nvml://gpu1", {})
