"""Labels of a series: pairs of name and value, sorted by name, none of them empty."""

from __future__ import annotations

from collections.abc import Collection, Mapping

Labels = tuple[tuple[str, str], ...]

NAME = "__name__"


def from_mapping(values: Mapping[str, str]) -> Labels:
    """Labels of a mapping; empty values are labels that are not there."""
    return tuple(sorted(pair for pair in values.items() if pair[1]))


def keep(labels: Labels, names: Collection[str]) -> Labels:
    """Only the labels of these names."""
    return tuple(pair for pair in labels if pair[0] in names)


def drop(labels: Labels, names: Collection[str]) -> Labels:
    """All but the labels of these names."""
    return tuple(pair for pair in labels if pair[0] not in names)


def without_name(labels: Labels) -> Labels:
    """All but the metric's name: what an operation leaves of the labels of its operands."""
    return tuple(pair for pair in labels if pair[0] != NAME)


def shown(labels: Labels) -> str:
    """The labels as Prometheus writes them, for people."""
    inside = ", ".join(f'{name}="{value}"' for name, value in labels if name != NAME)
    return dict(labels).get(NAME, "") + "{" + inside + "}"
