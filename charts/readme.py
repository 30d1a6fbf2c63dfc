"""README.md of the chart: what is said here, and a table of values.yaml with its comments.

Run as a program it writes the file: ``make docs`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

CHART = Path(__file__).parent / "gputel"
_KEY = re.compile(r"( *)([\w-]+|\"[^\"]+\"):(?: |$)(.*)")

_HEAD = """# gputel

{description}.
Streamer, broker, collector and API run from one image, beside a TimescaleDB.

```sh
helm upgrade --install gputel charts/gputel --namespace gputel --create-namespace --wait
helm test gputel --namespace gputel
```

Kubernetes {kubernetes}, helm 3.14 or newer. docs/kubernetes.md of the repository tells how to
run it: the source of telemetry, scale, a database of your own, access, TLS, alerts, backups,
OpenShift, and what to do when a pod does not run. A value that does not exist, or values that
cannot work together, are refused before anything is changed.

## Values

`null` takes a default away. In `extraEnv`, `extraEnvFrom`, `extraVolumes`, `extraVolumeMounts`,
`initContainers`, `sidecars` and `extraObjects` templates are filled in, like
`{{{{ .Release.Name }}}}`.
"""


@dataclass(frozen=True)
class Value:
    """One line of values.yaml: the path of its key, what stands behind it, what is said of it.

    ``default`` is None for a key whose own keys follow, each on a line of its own.
    """

    path: tuple[str, ...]
    default: str | None
    text: str


def values(text: str) -> Iterator[Value]:
    """Every key of values.yaml, in its order, with the comment above or behind it."""
    above: list[str] = []
    path: list[str] = []
    for line in text.splitlines():
        if line.lstrip().startswith("#"):
            above.append(line.lstrip().removeprefix("#").strip())
            continue
        if match := _KEY.fullmatch(line):
            indent, key, rest = match.groups()
            path = [*path[: len(indent) // 2], key.strip('"')]
            default, _, behind = f" {rest}".partition(" # ")
            said = behind or " ".join(above)
            default = default.strip()
            yield Value(tuple(path), default or None, said.strip())
        above = []


def readme() -> str:
    """The page."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    kubernetes = chart["kubeVersion"].removeprefix(">=").removesuffix(".0-0") + " or newer"
    lines = [_HEAD.format(description=chart["description"], kubernetes=kubernetes)]
    lines += ["| value | default | |", "|---|---|---|"]
    for value in values((CHART / "values.yaml").read_text(encoding="utf-8")):
        name = ".".join(f'"{part}"' if "." in part else part for part in value.path)
        shown = f"`{value.default}`" if value.default else ""
        if value.default is not None or value.text:
            lines.append(f"| `{name}` | {_cell(shown)} | {_cell(value.text)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    (CHART / "README.md").write_text(readme(), encoding="utf-8")
