"""Secrets are made once and stay: on upgrade, and when a release that was removed comes back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.chart.cluster import Cluster, serving
from tests.chart.conftest import RenderOf
from tests.chart.renders import CHART, Document, HelmError, Render, component_of, run_helm

Install = Callable[..., dict[str, dict[str, str]]]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster()
    with serving(cluster, tmp_path / "kubeconfig"):
        yield cluster


@pytest.fixture
def install(cluster: Cluster, tmp_path: Path, each_helm: Path) -> Install:
    """Render with the real lookup against the cluster, and apply the Secrets; their texts."""

    def run(**values: Any) -> dict[str, dict[str, str]]:
        flags = ("--dry-run=server", "--disable-openapi-validation", "-n", "gpu")
        where = ("--kubeconfig", str(tmp_path / "kubeconfig"))
        text = run_helm(each_helm, "template", "rel", str(CHART), *flags, *where, values=values)
        secrets = Render("server", text).kind("Secret")
        for secret in secrets:
            cluster.apply(secret)
        return {secret["metadata"]["name"]: secret["stringData"] for secret in secrets}

    return run


def test_an_upgrade_keeps_every_secret(install: Install) -> None:
    first = install()
    assert first == install(collector={"replicaCount": 3})
    assert set(first) == {"rel-gputel-tokens", "rel-gputel-postgres"}


def test_each_installation_has_secrets_of_its_own(install: Install, render_of: RenderOf) -> None:
    ours = install()["rel-gputel-tokens"]
    others = render_of().one("Secret", "tokens")["stringData"]
    assert not {ours[key] for key in ("read", "pipeline", "admin")} & set(others.values())


def test_what_was_changed_by_hand_stays(install: Install, cluster: Cluster) -> None:
    secrets = install()
    tokens = secrets["rel-gputel-tokens"]
    tokens["tokens"] += "grafana read abcdefghijklmnopqrstuvwxyz\n"
    stored = cluster.secrets["gpu", "rel-gputel-tokens"]
    cluster.apply({**stored, "stringData": tokens})
    assert install()["rel-gputel-tokens"] == tokens


def test_the_address_of_the_database_follows_the_values_and_the_password_stays(
    install: Install,
) -> None:
    before = install()["rel-gputel-postgres"]
    after = install(postgres={"port": 6543})["rel-gputel-postgres"]
    assert after["password"] == before["password"]
    assert urlsplit(after["dsn"]).port == 6543


def test_secrets_that_are_made_outlive_their_release(rendered: Render) -> None:
    made = [each for each in rendered.kind("Secret") if component_of(each) != "streamer"]
    for secret in made:
        assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_tokens_are_long_and_in_the_file_with_their_scopes(render_of: RenderOf) -> None:
    data = render_of().one("Secret", "tokens")["stringData"]
    lines = [line.split(" ") for line in data["tokens"].splitlines() if not line.startswith("#")]
    scopes = {name: (scopes, token) for name, scopes, token in lines}
    assert scopes == {
        "pipeline": ("read,write", data["pipeline"]),
        "read": ("read", data["read"]),
        "admin": ("admin", data["admin"]),
    }
    assert len({token for _, token in scopes.values()}) == 3
    assert all(re.fullmatch(r"[A-Za-z0-9]{40}", token) for _, token in scopes.values())


def test_the_dsn_survives_names_with_signs_in_them(render_of: RenderOf) -> None:
    render = render_of("knobs")
    secret = render.one("Secret", "postgres")["stringData"]
    parts = urlsplit(secret["dsn"])
    assert unquote(parts.username or "") == "größe @:/"
    assert unquote(parts.password or "") == secret["password"]
    service = render.one("Service", "postgres")
    assert parts.hostname == service["metadata"]["name"]
    assert parts.port == service["spec"]["ports"][0]["port"]
    assert parts.path == "/telemetry"


def no_secret_in(documents: list[Document], values: set[str]) -> bool:
    return not any(value in str(document) for document in documents for value in values)


def test_no_secret_is_written_anywhere_else(rendered: Render) -> None:
    values = {v for s in rendered.kind("Secret") for k, v in s["stringData"].items()}
    others = [document for document in rendered.documents if document["kind"] != "Secret"]
    assert no_secret_in(others, values)


def test_secrets_of_ones_own_are_used_and_none_is_made(render_of: RenderOf) -> None:
    render = render_of("own-secrets")
    assert render.kind("Secret") == []
    env = render.env("api")
    assert env["GPUTEL_TOKEN"]["secretKeyRef"] == {"name": "my-tokens", "key": "pipeline"}
    assert env["GPUTEL_POSTGRES_DSN"]["secretKeyRef"] == {"name": "my-postgres", "key": "dsn"}


def test_an_external_database_is_named_by_its_secret(render_of: RenderOf) -> None:
    render = render_of("external-database")
    assert "postgres" not in dict(render.workloads())
    reference = render.env("collector")["GPUTEL_POSTGRES_DSN"]["secretKeyRef"]
    assert reference == {"name": "my-database", "key": "url"}


GOOD = {"tokens": "a read aaaaaaaaaaaaaaaa\n", "pipeline": "p" * 16 + "\n", "read": "r" * 16}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pipeline": None}, "the Secret mine has no key pipeline"),
        ({"tokens": None}, "the Secret mine has no key tokens"),
        ({"read": "short"}, "the key read of the Secret mine is no token: at least 16"),
        ({"pipeline": "with blanks in it, and long"}, "the key pipeline .* is no token"),
    ],
    ids=str,
)
def test_a_secret_of_ones_own_that_cannot_work_is_refused(
    install: Install, cluster: Cluster, changed: dict[str, str | None], message: str
) -> None:
    texts = {key: text for key, text in {**GOOD, **changed}.items() if text is not None}
    metadata = {"namespace": "gpu", "name": "mine", "labels": {}}
    cluster.apply({"metadata": metadata, "stringData": texts})
    with pytest.raises(HelmError, match=f"auth.existingSecret: {message}"):
        install(auth={"existingSecret": "mine"})


def test_a_secret_of_ones_own_that_works_is_taken(install: Install, cluster: Cluster) -> None:
    metadata = {"namespace": "gpu", "name": "mine", "labels": {}}
    cluster.apply({"metadata": metadata, "stringData": GOOD})
    assert "rel-gputel-tokens" not in install(auth={"existingSecret": "mine"})
