"""The file of --scrape-config: what it may say, and what is said of its mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from gputel.errors import ConfigError
from gputel.streamer.scrape.config_file import read_jobs
from gputel.streamer.scrape.discovery.kinds import (
    DnsDiscovery,
    EndpointSlices,
    FileDiscovery,
    HttpDiscovery,
    RecordType,
    StaticTargets,
    TargetGroup,
)
from gputel.streamer.scrape.documents.parse import MOST_YAML_BYTES
from gputel.streamer.scrape.http.credentials import Authorization, BasicAuth, TlsConfig
from gputel.streamer.scrape.jobs import ScrapeJob

STATIC = "static_configs: [{targets: [gpu1:9400]}]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scrape.yml"


def read(file: Path, text: str) -> tuple[ScrapeJob, ...]:
    file.write_text(dedent(text))
    return read_jobs(file)


def read_one(file: Path, keys: str) -> ScrapeJob:
    """The job "x" with these keys, and a target unless they name targets."""
    keys = dedent(keys).strip()
    keys += "" if re.search("_configs:|slices:", keys) else f"\n{STATIC}"
    (job,) = read(file, "scrape_configs:\n- job_name: x\n" + indent(keys, "  ") + "\n")
    return job


def test_a_job_needs_a_name_and_targets_and_has_defaults(file: Path) -> None:
    job = read_one(file, STATIC)
    static = StaticTargets((TargetGroup(("gpu1:9400",)),))
    assert job == ScrapeJob("x", 10.0, 10.0, discoveries=(static,))
    assert job.drop_labels == {"err_msg"}
    assert job.body_size_limit == 16 << 20


def test_every_key_of_a_job_is_read(file: Path) -> None:
    job = read_one(
        file,
        """
        scrape_interval: 1m30s
        scrape_timeout: 500ms
        metrics_path: /custom
        scheme: https
        params: {'collect[]': [a, b]}
        honor_labels: false
        honor_timestamps: false
        body_size_limit: 1MiB
        sample_limit: 7
        basic_auth: {username: me, password_file: secrets/password}
        tls_config: {ca_file: /ca.pem, cert_file: c.pem, key_file: k.pem, server_name: gpu,
                     insecure_skip_verify: true}
        static_configs: [{targets: [gpu1:1, "http://gpu2/x"], labels: {rack: r7, row: 3}}]
        metrics_keep: DCGM_.*
        metrics_drop: DCGM_FI_PROF_.*
        drop_labels: [err_msg, pod_uid]
        """,
    )
    folder = file.parent
    assert job == ScrapeJob(
        "x",
        90.0,
        0.5,
        "https",
        "/custom",
        {"collect[]": ["a", "b"]},
        False,
        False,
        1 << 20,
        7,
        BasicAuth("me", password_file=folder / "secrets/password"),
        TlsConfig(Path("/ca.pem"), folder / "c.pem", folder / "k.pem", "gpu", True),
        (StaticTargets((TargetGroup(("gpu1:1", "http://gpu2/x"), {"rack": "r7", "row": "3"}),)),),
        re.compile("DCGM_.*"),
        re.compile("DCGM_FI_PROF_.*"),
        frozenset({"err_msg", "pod_uid"}),
    )


def test_every_discovery_is_read(file: Path) -> None:
    job = read_one(
        file,
        """
        authorization: {credentials: sesame-open}
        file_sd_configs: [{files: [targets/*.json, /etc/gpus.yml], refresh_interval: 1m}]
        http_sd_configs:
        - url: http://sd/targets
        - {url: https://sd/targets, basic_auth: {username: sd, password: other-word}}
        dns_sd_configs: [{names: [gpus.example], type: AAAA, port: 9400}]
        kubernetes_endpointslices: {namespace: gpu-operator, service: dcgm, port: metrics}
        """,
    )
    assert job.auth == Authorization("Bearer", "sesame-open")
    assert job.discoveries == (
        FileDiscovery((file.parent / "targets/*.json", Path("/etc/gpus.yml")), 60.0),
        HttpDiscovery("http://sd/targets", 60.0),
        HttpDiscovery("https://sd/targets", 60.0, BasicAuth("sd", "other-word")),
        DnsDiscovery(("gpus.example",), 9400, RecordType.AAAA),
        EndpointSlices("gpu-operator", "dcgm", "metrics"),
    )


def test_global_sets_what_a_job_leaves_out(file: Path) -> None:
    jobs = read(
        file,
        f"""
        global: {{scrape_interval: 1s, scrape_timeout: 1s, body_size_limit: 2MB, sample_limit: 3}}
        scrape_configs:
        - {{job_name: a, {STATIC}}}
        - {{job_name: b, scrape_interval: 500ms, sample_limit: 4, {STATIC}}}
        """,
    )
    assert [(job.interval_s, job.timeout_s, job.sample_limit) for job in jobs] == [
        (1.0, 1.0, 3),
        (0.5, 0.5, 4),
    ]
    assert jobs[0].body_size_limit == 2 << 20


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ("scrape_timeout: 11s", "scrape_timeout: is 11 s, longer than scrape_interval, 10 s"),
        ("scrape_interval: 10", "scrape_interval: must be a duration like 10s, but is a number"),
        ("scrape_interval: soon", "scrape_interval: 'soon' is not a duration like 10s"),
        ("scrape_interval: 50ms", "scrape_interval: is 0.05 s; the least is 0.1 s"),
        ("scrape_intervall: 1s", "scrape_intervall: gputel knows no such key"),
        ("scheme: ftp", "scheme: 'ftp' is neither http nor https"),
        ("metrics_path: x", "metrics_path: must begin with a slash"),
        ("metrics_path: /x?y", "parameters belong into params"),
        ("params: {a: b}", "params: must be names with lists"),
        ("honor_labels: 'yes'", "honor_labels: must be true or false, but is text"),
        ("body_size_limit: huge", "body_size_limit: 'huge' is not a size like 16MB"),
        ("body_size_limit: 0", "body_size_limit: is 0 bytes; the least is 1 bytes"),
        ("sample_limit: many", "sample_limit: must be a whole number, but is text"),
        ("sample_limit: true", "sample_limit: must be a whole number, but is true or false"),
        ("metrics_keep: '(['", "metrics_keep: '([' is not a regular expression"),
        ("drop_labels: err_msg", "drop_labels: must be a list of texts"),
        ("relabel_configs: [{}]", "relabel_configs: is not supported; metrics_keep"),
        ("proxy_url: http://p", "proxy_url: is not supported"),
        ("basic_auth: {password: correcthorse}", "basic_auth: username: is missing"),
        ("basic_auth: {username: a}", "basic_auth: password: give either password or"),
        ("basic_auth: {username: a:b, password: x}", "username: has a colon"),
        ("authorization: {type: Basic, credentials: x}", "for Basic use basic_auth"),
        ("authorization: {credentials: 12}", "credentials: must be text, but is a number"),
        ("authorization: {credentials: 'a\n\n\n b'}", "credentials: has a line feed"),
        ("tls_config: {ca: x}", "tls_config: ca: gputel knows no such key"),
        ("tls_config: {key_file: x}", "tls_config: key_file: is given without cert_file"),
        ("tls_config: 3", "tls_config: must have keys with values, but is a number"),
        ("static_configs: [gpu1]", "static_configs[1]: must have keys with values, but is text"),
        ("static_configs: [{labels: {}}]", "static_configs[1]: targets: is missing"),
        ("static_configs: [{targets: gpu1}]", "targets: must be a list of texts"),
        ("static_configs: [{targets: ['gpu1:x']}]", "static_configs[1]: targets: 'gpu1:x': is not"),
        ("static_configs: [{targets: [a], labels: {a-b: c}}]", "'a-b' is not a name for a label"),
        ("static_configs: [{targets: [a], labels: {a: yes}}]", "a: must be text"),
        ("static_configs: {}", "static_configs: must be a list, but is keys and values"),
        ("file_sd_configs: [{}]", "file_sd_configs[1]: files: is missing"),
        ("file_sd_configs: [{files: [a.txt]}]", "files: 'a.txt' must end in .json, .yml or .yaml"),
        ("http_sd_configs: [{url: sd}]", "http_sd_configs[1]: url: must begin with http://"),
        ("http_sd_configs: [{url: 'http://a', refresh_interval: 0s}]", "the least is 1 s"),
        ("dns_sd_configs: [{names: [a]}]", "type: 'SRV': gputel looks up A and AAAA only"),
        ("dns_sd_configs: [{names: [a], type: A}]", "port: must be a whole number, but is nothing"),
        ("dns_sd_configs: [{names: ['a b'], type: A, port: 1}]", "'a b' is not a name in DNS"),
        ("kubernetes_endpointslices: {namespace: A/b}", "'A/b' is not a name in Kubernetes"),
        ("kubernetes_endpointslices: {namespace: a, service: b}", "port: must be a number like"),
    ],
)
def test_a_mistake_is_named_with_file_job_and_key(file: Path, keys: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read_one(file, keys)
    assert raised.value.message.startswith(f"{file}: scrape_configs[1] (job 'x'): ")
    assert error in raised.value.message
    assert "correcthorse" not in raised.value.message


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is empty; it must have scrape_configs"),
        ("- a", "must have keys with values, but is a list"),
        ("scrape_configs: [", "line 2, column 1: is not YAML"),
        ("scrape_configs:", "scrape_configs: has no job"),
        ("global: {}", "scrape_configs: has no job"),
        ("scrape_configs: [{job_name: x}]", "(job 'x'): static_configs: is missing; a job needs"),
        ("scrape_configs: [{}]", "scrape_configs[1]: job_name: is missing"),
        (f"scrape_configs: [{{job_name: 3, {STATIC}}}]", "scrape_configs[1]: job_name: must be"),
        (
            f"scrape_configs: [{{job_name: x, {STATIC}}}, {{job_name: x, {STATIC}}}]",
            "scrape_configs[2] (job 'x'): job_name: another job has this name",
        ),
        ("rule_files: [a]\nscrape_configs: [{job_name: x, " + STATIC + "}]", "rule_files: gputel"),
        ("global: {external_labels: {a: b}}", "global: external_labels: is not supported"),
        ("global: {evaluation_interval: 1m}", "global: evaluation_interval: gputel knows no"),
        ("global: {scrape_interval: 1s, scrape_timeout: 2s}", "global: scrape_timeout: is 2 s"),
    ],
)
def test_a_mistake_outside_of_a_job_is_named(file: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(file, text)
    assert raised.value.message.startswith(f"{file}: ")
    assert error in raised.value.message


def test_a_file_that_is_missing_or_too_large_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"scrape.yml: No such file"):
        read_jobs(file)
    file.write_bytes(b"#" * (MOST_YAML_BYTES + 1))
    with pytest.raises(ConfigError, match=r"scrape.yml: is over 4 MiB"):
        read_jobs(file)
