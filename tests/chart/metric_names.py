"""The names that gputel's /metrics has, as Prometheus sees them."""

from __future__ import annotations

import re

from tests.chart.tools import ROOT

_ROW = re.compile(r"\| `(\w+)` \| (\w+) \|")


def exported() -> set[str]:
    """From docs/metrics.md, which is made from the code; a histogram has three names."""
    names = set()
    for name, kind in _ROW.findall((ROOT / "docs" / "metrics.md").read_text()):
        parts = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        names |= {name + part for part in parts}
    return names
