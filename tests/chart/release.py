"""A release of the chart as processes of this machine: the containers' arguments and variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gputel.config.resolve import specs
from tests.chart.renders import Render
from tests.chart.tools import ROOT
from tests.helpers.processes import Gputel, Processes, free_port

ROLES = ("broker", "collector", "streamer", "api")
TOKENS = "GPUTEL_TOKEN_FILE" in {spec.env for spec in specs()}
"""Whether this gputel asks for tokens."""

_PORT_SETTINGS = {"broker": "GPUTEL_BROKER_PORT", "api": "GPUTEL_API_PORT"}


@dataclass
class Release:
    """What is different here: addresses, paths of mounts, the database; all else is the chart's."""

    render: Render
    processes: Processes
    folder: Path
    dsn: str
    ports: dict[str, int] = field(default_factory=lambda: {role: free_port() for role in ROLES})

    def start(self, role: str) -> Gputel:
        """Start a role as its container does."""
        container = self.render.container(role)
        environment = self.environment(role)
        environment[_PORT_SETTINGS.get(role, "GPUTEL_HEALTH_PORT")] = str(self.ports[role])
        return self.processes.start(*container["args"], **environment)

    def environment(self, component: str) -> dict[str, str]:
        """The variables of a component's container, with the Secrets' texts in them."""
        places = self._places(component)
        found: dict[str, str] = {}
        for name, value in self.render.env(component).items():
            if name == "GPUTEL_INSECURE" and not TOKENS:
                continue
            text = value if isinstance(value, str) else self._secret(**value["secretKeyRef"])
            for there, here in places.items():
                text = text.replace(there, here)
            for known, value in found.items():  # as Kubernetes expands them
                text = text.replace(f"$({known})", value)
            found[name] = text
        return found

    def _secret(self, name: str, key: str) -> str:
        secrets = {s["metadata"]["name"]: s["stringData"] for s in self.render.kind("Secret")}
        return self.dsn if key == "dsn" else str(secrets[name][key])

    def _places(self, component: str) -> dict[str, str]:
        """Where things are, from what the chart says to what is so here."""
        own = self.folder / component
        own.mkdir(exist_ok=True)
        tokens = self.folder / "tokens"
        for secret in self.render.kind("Secret"):
            if "tokens" in secret["stringData"]:
                tokens.write_text(secret["stringData"]["tokens"])
            if "scrape.yml" in secret["stringData"]:
                (self.folder / "scrape.yml").write_text(secret["stringData"]["scrape.yml"])
        names = {role: self.render.one("Service", role)["metadata"] for role in ("broker", "api")}
        ports = {"broker": 8081, "api": 8080}
        return {
            "/etc/gputel/tokens/tokens": str(tokens),
            "/etc/gputel/tls": str(self.folder),
            "/etc/gputel/scrape": str(self.folder),
            "/usr/share/gputel/dcgm_sample.csv": str(ROOT / "fixtures" / "dcgm_small.csv"),
            "/data": str(own),
            **{
                f"{metadata['name']}:{ports[role]}": f"127.0.0.1:{self.ports[role]}"
                for role, metadata in names.items()
            },
        }

    def url(self, role: str, path: str) -> str:
        """Where a role answers; by what its probes ask, HTTP or HTTPS."""
        scheme = self.render.container(role)["readinessProbe"]["httpGet"]["scheme"].lower()
        return f"{scheme}://127.0.0.1:{self.ports[role]}{path}"

    def readiness(self, role: str) -> str:
        """What the readiness probe of a role asks."""
        container = self.render.container(role)
        return self.url(role, container["readinessProbe"]["httpGet"]["path"])
