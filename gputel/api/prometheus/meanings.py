"""Selectors of a meaning: the stored series that they read, and the series that these make up.

The labels are those of the classic names, whatever release of the exporter sent them. Series whose
labels are the same then are one, also if an old exporter has not sent the PCI address.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gputel.api.prometheus.labels import LabelledSeries
from gputel.api.shared.nearest import did_you_mean
from gputel.model.meanings import MEANINGS, PREFIX, Meaning
from gputel.promql.syntax.matching import matches
from gputel.promql.syntax.nodes import Matcher, MatchOp
from gputel.promql.values.labels import NAME, Labels, drop, from_mapping
from gputel.store.read.endings import Bools
from gputel.store.read.meanings import NEVER, MeantSeries, exporter_of, numbered

_CLASSIC = {
    "DCGM_FI_SYSTEM_DRIVER_VERSION": "DCGM_FI_DRIVER_VERSION",
    "DCGM_FI_SYSTEM_PROCESS_NAME": "DCGM_FI_PROCESS_NAME",
    "DCGM_FI_DEV_GPU_BRAND": "DCGM_FI_DEV_BRAND",
    "DCGM_FI_DEV_BOARD_SERIAL": "DCGM_FI_DEV_SERIAL",
}
_OLD_HOST = "hostname"  # what newer exporters call Hostname, which every series with a host has
_NEWER = ("pci_bus_id",)
"""Labels that exporters before 3.3.6 do not send, and that say nothing that others do not say."""

Exporter = tuple[str, ...]
"""What tells an exporter from others: its host, instance and job; or only a GPU's uuid."""


def meaning_of(matchers: Sequence[Matcher]) -> Meaning | None:
    """The meaning that is selected by its name; None if it is not one. No pattern selects one."""
    names = (each.value for each in matchers if each.name == NAME and each.op is MatchOp.EQUAL)
    return next((MEANINGS[name] for name in names if name in MEANINGS), None)


def reason_for_nothing(matchers: Sequence[Matcher]) -> str | None:
    """Why a selector finds nothing: its name is no meaning, or a pattern; None for others."""
    for each in matchers:
        if each.name != NAME or not each.value.startswith(PREFIX):
            continue
        if each.op is MatchOp.EQUAL and each.value not in MEANINGS:
            similar = did_you_mean(each.value, sorted(MEANINGS))
            return f"{each.value} is no meaning{similar}docs/meanings.md lists them"
        if each.op is MatchOp.RE:
            return f"the pattern {each.value!r} selects no meaning: query each by its name"
    return None


def stored_matchers(matchers: Sequence[Matcher], meaning: Meaning) -> list[Matcher]:
    """The matchers of the stored series of a meaning."""
    if fits(matchers, meaning.name):
        name = Matcher(NAME, MatchOp.RE, "|".join(meaning.scales))
    else:
        name = Matcher(NAME, MatchOp.EQUAL, "")  # no series is without a name
    return [name, *(each for each in matchers if each.name != NAME)]


def fits(matchers: Sequence[Matcher], name: str) -> bool:
    """Whether a name meets the matchers of names."""
    return all(matches(each, [name]).all() for each in matchers if each.name == NAME)


def labels_of_meaning(labels: Labels, meaning: Meaning) -> Labels:
    """The labels of a stored series as those of the meaning."""
    values = {_CLASSIC.get(name, name): text for name, text in labels if name != _OLD_HOST}
    return from_mapping(values | {NAME: meaning.name})


def joined(meaning: Meaning, stored: LabelledSeries) -> tuple[MeantSeries, LabelledSeries]:
    """Which stored series are one series of the meaning, and these series, in order of id."""
    labels = [labels_of_meaning(each, meaning) for each in stored.labels]
    keys = [drop(each, _NEWER) for each in labels]
    names = [metric for metric, _ in stored.readings_of]
    newest: dict[Labels, int] = {}
    for position, key in enumerate(keys):
        before = newest.get(key)
        if before is None or meaning.ranks[names[position]] <= meaning.ranks[names[before]]:
            newest[key] = position
    shown = sorted(newest.values())
    meant = MeantSeries(
        np.array(stored.series_ids, np.int64),
        names,
        np.array([stored.series_ids[newest[key]] for key in keys], np.int64),
        numbered(exporters_of(stored)),
        *(np.full(len(names), time) for time in NEVER),
    )
    return meant, LabelledSeries(
        [stored.series_ids[position] for position in shown],
        [labels[position] for position in shown],
        [(meaning.name, stored.readings_of[position][1]) for position in shown],
    )


def exporters_of(series: LabelledSeries) -> list[Exporter]:
    """The exporter of each series."""
    uuids = (uuid for _, uuid in series.readings_of)
    return list(map(_exporter, series.labels, uuids))


def one_reading_each(series: LabelledSeries) -> dict[int, Exporter]:
    """The exporters by the ids of their series, of which only those of one metric and GPU count."""
    readings: dict[Exporter, tuple[str, str]] = {}
    columns = zip(exporters_of(series), series.readings_of, series.series_ids, strict=True)
    return {
        series_id: exporter
        for exporter, reading, series_id in columns
        if readings.setdefault(exporter, reading) == reading
    }


def only(series: LabelledSeries, taken: Bools) -> LabelledSeries:
    """Some of the series."""
    positions = np.flatnonzero(taken).tolist()
    return LabelledSeries(
        [series.series_ids[position] for position in positions],
        [series.labels[position] for position in positions],
        [series.readings_of[position] for position in positions],
    )


def _exporter(labels: Labels, uuid: str) -> Exporter:
    texts = dict(labels)
    host, instance, job = (texts.get(name, "") for name in ("Hostname", "instance", "job"))
    return exporter_of(uuid, host, instance, job)
