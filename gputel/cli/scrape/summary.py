"""An answer by metric and by GPU, and what in it an operator should look at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from gputel.model.entities import ENTITY_UUID
from gputel.model.names import METRIC, RAW, UUID
from gputel.streamer.scrape.check import CheckedAnswer, CheckedLine, CheckedSample

_ENTITY = re.compile(ENTITY_UUID)
_EXPORTER_PODS = ("nvidia-dcgm-exporter", "dcgm-exporter")
_LOCAL_HOSTS = ("localhost", "localhost.localdomain")
_NAME = re.compile(r'[^\s{]+|\{\s*"[^"]*"')


@dataclass
class MetricSummary:
    """The samples of one metric."""

    metric: str
    example: float
    samples: int = 0
    uuids: set[str] = field(default_factory=set)


@dataclass
class GpuSummary:
    """What the samples of one uuid say about it; texts in the order in which they came."""

    uuid: str
    hosts: dict[str, None] = field(default_factory=dict)
    models: dict[str, None] = field(default_factory=dict)
    instances: dict[str, str] = field(default_factory=dict)  # the profile of each MIG instance
    pods: dict[str, None] = field(default_factory=dict)

    @property
    def is_gpu(self) -> bool:
        """Whether it is no switch and no CPU."""
        return not _ENTITY.match(self.uuid)


def by_metric(samples: Iterable[CheckedSample]) -> list[MetricSummary]:
    """The metrics in the order of their names."""
    metrics: dict[str, MetricSummary] = {}
    for sample in samples:
        name = sample.labels[METRIC]
        metric = metrics.setdefault(name, MetricSummary(name, sample.value))
        metric.samples += 1
        metric.uuids.add(sample.labels[UUID])
    return sorted(metrics.values(), key=lambda metric: metric.metric)


def by_gpu(samples: Iterable[CheckedSample]) -> list[GpuSummary]:
    """The GPUs in the order in which they came; then switches and CPUs."""
    gpus: dict[str, GpuSummary] = {}
    for sample in samples:
        labels = sample.labels
        gpu = gpus.setdefault(labels[UUID], GpuSummary(labels[UUID]))
        if host := labels.get("hostname"):
            gpu.hosts[host] = None
        if model := labels.get("model_name"):
            gpu.models[model] = None
        if instance := labels.get("gpu_i_id"):
            gpu.instances[instance] = labels.get("gpu_i_profile", "")
        if pod := labels.get("pod"):
            gpu.pods["/".join(filter(None, (labels.get("namespace"), pod)))] = None
    return sorted(gpus.values(), key=lambda gpu: not gpu.is_gpu)


def names_of(lines: Iterable[CheckedLine]) -> list[str]:
    """The names of the metrics of lines that are not stored, each once."""
    matches = (_NAME.match(line.text) for line in lines)
    return list(dict.fromkeys(match[0] for match in matches if match))


def warnings_of(answer: CheckedAnswer) -> list[str]:
    """What is well formed, but is probably not what the operator wants."""
    if not answer.bytes:
        return [
            "the answer is empty: dcgm-exporter answers so while it reloads; try again in some "
            "seconds"
        ]
    gpus = [gpu for gpu in by_gpu(answer.samples) if gpu.is_gpu]
    if not gpus and not answer.error:
        return [_no_gpu(answer)]
    return [*_warnings_about_hosts(gpus), *_warnings_about_pods(answer.samples, gpus)]


def _no_gpu(answer: CheckedAnswer) -> str:
    if answer.dropped and not answer.foreign and not answer.refused:
        return "metrics_keep and metrics_drop of the job leave out every line"
    return (
        "the exporter answers, but has no GPU: no line that can be stored names one. See whether "
        "`nvidia-smi` lists the GPUs on its host, and restart the exporter and its host engine"
    )


def _warnings_about_hosts(gpus: Iterable[GpuSummary]) -> Iterator[str]:
    hosts = list(dict.fromkeys(host for gpu in gpus for host in gpu.hosts))
    pod = next((host for host in hosts if host.startswith(_EXPORTER_PODS)), None)
    if pod:
        yield (
            f"the hostname {pod} is that of the exporter's pod, and changes with it: set NODE_NAME "
            "of the exporter to spec.nodeName"
        )
    local = next((host for host in hosts if host in _LOCAL_HOSTS), None)
    if local:
        yield (
            f"the hostname is {local}, so GPUs of different hosts look like those of one: let the "
            "exporter talk to a host engine by its name, or use dcgm-exporter 4.8.3 or later"
        )


def _warnings_about_pods(
    samples: Iterable[CheckedSample], gpus: Iterable[GpuSummary]
) -> Iterator[str]:
    if any('exported_pod="' in sample.labels.get(RAW, "") for sample in samples):
        yield (
            "lines have exported_pod, as after a Prometheus without honor_labels: gputel takes "
            "pod, namespace and container from the exported_ labels"
        )
    pods = (pod.rpartition("/")[2] for gpu in gpus for pod in gpu.pods)
    own = next((pod for pod in pods if pod.startswith(_EXPORTER_PODS)), None)
    if own:
        yield (
            f"the pod {own} is the exporter's own, not one that uses the GPU: do not attach the "
            "label pod to the target, or set honor_labels"
        )
