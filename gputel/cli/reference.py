"""The generated pages of docs/: settings, metrics, meanings. ``make docs`` writes them.

Run as a program, ``python -m gputel.cli.reference docs``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gputel.config.resolve import SettingSpec, specs
from gputel.metrics import DECLARED
from gputel.model.meanings import MEANINGS, Scale

_TITLES = {
    "common": "Every process",
    "postgres": "Postgres",
    "broker": "Broker",
    "streamer": "Streamer",
    "collector": "Collector",
    "api": "API",
    "access": "Access",
}


def configuration_page() -> str:
    """docs/configuration.md, from the settings themselves."""
    lines = [
        "# Settings",
        "",
        "A flag wins over the environment, and the environment wins over the default. `gputel run`",
        "refuses a flag that has no effect beside the others.",
        "`gputel config` shows the values that a process would use and where each comes from.",
        "`make docs` generates this page from `gputel/config/settings.py`. A `GPUTEL_...` variable",
        "that is not a setting is an error, except the service links that Kubernetes adds to pods",
        "(`GPUTEL_API_PORT=tcp://...`): gputel ignores them.",
        "",
    ]
    for component, title in _TITLES.items():
        lines += [f"## {title}", "", "| flag | environment | default | |", "|---|---|---|---|"]
        lines += [_setting(spec) for spec in specs() if spec.component == component]
        lines.append("")
    return "\n".join(lines)


def _setting(spec: SettingSpec) -> str:
    default = "" if spec.default is None else f"`{spec.default}`"
    if spec.name == "data_dir":
        default = "the user data directory; `/var/lib/gputel` for root and where there is no home"
    text = spec.meta.help
    if spec.meta.choices:
        text += " One of " + ", ".join(f"`{choice}`" for choice in spec.meta.choices) + "."
    flag = f"`{spec.flag}`" + (f" / `--no-{spec.flag[2:]}`" if spec.type is bool else "")
    return f"| {flag} | `{spec.env}` | {default} | {text} |"


def metrics_page() -> str:
    """docs/metrics.md, from the metrics themselves."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` of every process exports these metrics in Prometheus' text format: those",
        "of broker, streamer, collector and api only where that role runs, those of the store",
        "where a collector runs, all others everywhere.",
        "`make docs` generates this page from `gputel/metrics.py`.",
        "",
        "| metric | type | labels | |",
        "|---|---|---|---|",
    ]
    for metric, labelnames in DECLARED:
        name = metric.name + ("_total" if metric.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in labelnames)
        lines.append(f"| `{name}` | {metric.type} | {labels} | {metric.documentation} |")
    return "\n".join(lines) + "\n"


def meanings_page() -> str:
    """docs/meanings.md, from the table of meanings."""
    lines = [
        "# Meanings",
        "",
        "A meaning is one name and one unit for what exporters of different releases call",
        "differently. PromQL answers it under `/prometheus`; [PromQL and Grafana](prometheus.md)",
        "says how. Of two names, the first one is that of dcgm-exporter 4.9.",
        "`make docs` generates this page from `gputel/model/meanings.py`.",
        "",
        "| meaning | type | made from | |",
        "|---|---|---|---|",
    ]
    for meaning in MEANINGS.values():
        about = meaning.about
        sources = "<br>".join(_source(name, scale) for name, scale in meaning.scales.items())
        lines.append(f"| `{meaning.name}` | {about.kind} | {sources} | {about.help} |")
    return "\n".join(lines) + "\n"


def _source(name: str, scale: Scale | None) -> str:
    if scale is None:
        return f"`{name}`, percent or ratio, as its values tell"
    factor = f" x {scale.times:.12g}" if scale.times != 1 else ""
    return f"`{name}`{factor}" + (f" / {scale.per:.12g}" if scale.per != 1 else "")


PAGES = {
    "configuration.md": configuration_page,
    "metrics.md": metrics_page,
    "meanings.md": meanings_page,
}


def main(directory: str) -> None:
    """Write every page into ``directory``."""
    for name, page in PAGES.items():
        (Path(directory) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
