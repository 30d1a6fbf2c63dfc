"""Questions in PromQL that are put to a real Prometheus and to gputel, of prometheus_data."""

from __future__ import annotations

from tests.helpers.batches import NOON

START = NOON.timestamp()

SELECTORS = [
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP",
    'DCGM_FI_DEV_GPU_UTIL{gpu="1"}',
    'DCGM_FI_DEV_GPU_UTIL{gpu!="1"}',
    'DCGM_FI_DEV_GPU_UTIL{Hostname=~"host-[01]",gpu!~"0|1"}',
    'DCGM_FI_DEV_GPU_UTIL{Hostname=~"host-1|host-2"}',
    'DCGM_FI_DEV_GPU_UTIL{pod=""}',
    'DCGM_FI_DEV_GPU_UTIL{pod!=""}',
    'DCGM_FI_DEV_GPU_UTIL{pod=~"train-.*"}',
    'DCGM_FI_DEV_GPU_UTIL{nothing=""}',
    'DCGM_FI_DEV_GPU_UTIL{nothing=~".+"}',
    '{__name__=~"DCGM_FI_DEV_GPU_(UTIL|TEMP)",UUID="GPU-02"}',
    '{UUID="GPU-11"}',
    '{instance="host-1:9400",job=~"dcgm.*"}',
    'DCGM_FI_DEV_GPU_UTIL{modelName="A100"}',
    "no_such_metric",
    "DCGM_FI_DEV_GPU_TEMP offset 10m",
    "DCGM_FI_DEV_GPU_TEMP offset -5m",
    f"DCGM_FI_DEV_GPU_TEMP @ {START + 1000.5}",
    "DCGM_FI_DEV_GPU_TEMP @ start()",
    "DCGM_FI_DEV_GPU_TEMP @ end() offset 20m",
    "timestamp(DCGM_FI_DEV_GPU_TEMP)",
    "timestamp(DCGM_FI_DEV_GPU_TEMP + 0)",
]
RANGES = [
    *(
        f"{function}(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[{span}])"
        for function in ("rate", "increase", "delta", "irate", "idelta", "resets", "changes")
        for span in ("1m", "5m", "1h")
    ),
    *(
        f"{function}_over_time(DCGM_FI_DEV_GPU_TEMP[{span}])"
        for function in ("avg", "min", "max", "sum", "count", "last", "stddev", "stdvar", "present")
        for span in ("30s", "5m")
    ),
    *(
        f"quantile_over_time({quantile}, DCGM_FI_DEV_GPU_TEMP[7m])"
        for quantile in ("0", "0.5", "0.99", "1", "-1", "2", "NaN", "scalar(no_such) + 0.5")
    ),
    "quantile_over_time(scalar(DCGM_FI_DEV_GPU_UTIL{gpu='2',Hostname='host-2'}) / 100, "
    "DCGM_FI_DEV_GPU_UTIL[5m])",
    "rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m] offset 5m)",
    f"rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m] @ {START + 2000})",
    "increase(DCGM_FI_DEV_GPU_UTIL[2h])",
    "avg_over_time(DCGM_FI_DEV_POWER_USAGE[1m] offset 1h)",
    "changes(DCGM_FI_DEV_GPU_TEMP[10m])",
    "delta(DCGM_FI_DEV_GPU_TEMP[10m])",
]
AGGREGATIONS = [
    *(f"{op}(DCGM_FI_DEV_GPU_TEMP)" for op in ("sum", "avg", "min", "max", "count", "group")),
    *(f"{op} by (Hostname) (DCGM_FI_DEV_GPU_TEMP)" for op in ("sum", "avg", "min", "max", "count")),
    *(f"{op} by (Hostname) (DCGM_FI_DEV_POWER_USAGE)" for op in ("stddev", "stdvar")),
    "stddev without (gpu, UUID) (DCGM_FI_DEV_GPU_UTIL)",
    "sum without (gpu, UUID, device) (DCGM_FI_DEV_GPU_UTIL)",
    "avg by (pod, no_such) (DCGM_FI_DEV_GPU_UTIL)",
    "sum by () (DCGM_FI_DEV_GPU_UTIL)",
    'count by (__name__) ({__name__=~"DCGM.+"})',
    "avg by (Hostname) (rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[5m]))",
    "max by (modelName) (avg_over_time(DCGM_FI_DEV_GPU_UTIL[5m]))",
    "quantile(0.9, DCGM_FI_DEV_GPU_UTIL)",
    "quantile by (Hostname) (0.25, DCGM_FI_DEV_GPU_TEMP)",
    "quantile(NaN, DCGM_FI_DEV_GPU_UTIL)",
    "topk(3, DCGM_FI_DEV_POWER_USAGE)",
    "topk by (Hostname) (1, DCGM_FI_DEV_GPU_TEMP)",
    "bottomk(2, DCGM_FI_DEV_GPU_TEMP)",
    "bottomk without (gpu, UUID, device) (1, DCGM_FI_DEV_GPU_TEMP)",
    "topk(0, DCGM_FI_DEV_GPU_TEMP)",
    "topk(100, DCGM_FI_DEV_GPU_TEMP)",
    "topk(scalar(count(DCGM_FI_DEV_POWER_USAGE)), DCGM_FI_DEV_GPU_TEMP)",
    "sum(no_such_metric)",
    "count(DCGM_FI_DEV_GPU_UTIL > 50)",
]
OPERATORS = [
    "DCGM_FI_DEV_GPU_TEMP * 1.8 + 32",
    "100 - DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_UTIL / 0",
    "DCGM_FI_DEV_GPU_UTIL % 7",
    "-DCGM_FI_DEV_GPU_TEMP % 7",
    "2 ^ -1 ^ 2",
    "-2 ^ 2",
    "DCGM_FI_DEV_GPU_TEMP ^ 2",
    "DCGM_FI_DEV_GPU_TEMP atan2 3",
    "DCGM_FI_DEV_GPU_TEMP > 50",
    "50 < DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP >= bool 50",
    "50 == bool DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL != 0",
    "DCGM_FI_DEV_GPU_UTIL <= 0 or DCGM_FI_DEV_GPU_TEMP > 85",
    "1 + 2 * 3 / 4",
    "1 >= bool 2",
    "DCGM_FI_DEV_POWER_USAGE / DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_POWER_USAGE / on(UUID) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP - ignoring(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP > on(UUID) DCGM_FI_DEV_POWER_USAGE / 10",
    "DCGM_FI_DEV_GPU_TEMP > bool on(UUID) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP > ignoring(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_POWER_USAGE / on(Hostname) group_left sum by (Hostname) (DCGM_FI_DEV_POWER_USAGE)",
    "sum by (Hostname) (DCGM_FI_DEV_GPU_TEMP) * on(Hostname) group_right DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(UUID) group_left(pod, namespace) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(Hostname) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP * on(Hostname) sum by (Hostname) (DCGM_FI_DEV_GPU_UTIL)",
    "sum by (Hostname) (DCGM_FI_DEV_GPU_TEMP) < on(Hostname) group_right DCGM_FI_DEV_GPU_UTIL * 9",
    "DCGM_FI_DEV_GPU_TEMP and on(UUID) DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_GPU_TEMP unless on(Hostname) DCGM_FI_DEV_POWER_USAGE",
    "DCGM_FI_DEV_POWER_USAGE or on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL and DCGM_FI_DEV_GPU_TEMP",
    "-DCGM_FI_DEV_GPU_UTIL",
    "-(1 + 1)",
    '-{__name__=~"DCGM_FI_DEV_GPU_.*"}',
    '{__name__=~"DCGM_FI_DEV_GPU_.*"} > 50',
    '{__name__=~"DCGM_FI_DEV_GPU_.*"} * 2',
    "DCGM_FI_DEV_GPU_TEMP + no_such_metric",
    "no_such_metric or vector(1)",
]
FUNCTIONS = [
    *(
        f"{function}(DCGM_FI_DEV_GPU_TEMP - 50)"
        for function in ("abs", "ceil", "floor", "sqrt", "exp", "ln", "log2", "log10", "sgn")
    ),
    "round(DCGM_FI_DEV_GPU_TEMP)",
    "round(DCGM_FI_DEV_GPU_TEMP, 0.25)",
    "round(DCGM_FI_DEV_GPU_TEMP - 60, 5)",
    "clamp(DCGM_FI_DEV_GPU_TEMP, 30, 60)",
    "clamp(DCGM_FI_DEV_GPU_TEMP, 60, 30)",
    "clamp_min(DCGM_FI_DEV_GPU_TEMP, 50)",
    "clamp_max(DCGM_FI_DEV_GPU_TEMP, scalar(DCGM_FI_DEV_GPU_UTIL{UUID='GPU-22'}))",
    "time()",
    "time() - 10",
    "vector(time())",
    "scalar(DCGM_FI_DEV_GPU_TEMP)",
    "scalar(DCGM_FI_DEV_GPU_TEMP{UUID='GPU-01'})",
    "absent(DCGM_FI_DEV_GPU_TEMP{UUID='GPU-01'})",
    "absent(no_such_metric{a='b',c=~'d',e='f',e='g'})",
    "absent(sum(no_such_metric))",
    "pi()",
    "3.5",
    "Inf",
    "NaN",
    "abs({__name__=~'DCGM_FI_DEV_GPU_.*'})",
]
ERRORS = [
    "sum(",
    "rate(DCGM_FI_DEV_GPU_UTIL)",
    'DCGM_FI_DEV_GPU_UTIL{gpu=~"("}',
    "{}",
    "1 > 2",
    "topk(NaN, DCGM_FI_DEV_GPU_UTIL)",
    "DCGM_FI_DEV_GPU_UTIL + on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_UTIL[5m] + 1",
    "no_such_function(1)",
    "mad_over_time(DCGM_FI_DEV_GPU_TEMP[5m])",
    "DCGM_FI_DEV_GPU_TEMP[5m:1m]",
    "1[5m:1m]",
    "(DCGM_FI_DEV_GPU_TEMP)[5m]",
    "DCGM_FI_DEV_GPU_TEMP[5]",
    "DCGM_FI_DEV_GPU_TEMP[0s]",
    "DCGM_FI_DEV_GPU_TEMP @ 1e300",
    'DCGM_FI_DEV_GPU_TEMP{gpu=~".*\\d"}',
    '{gpu=~".*"}',
    'DCGM_FI_DEV_GPU_TEMP{__name__="x"}',
    "DCGM_FI_DEV_GPU_TEMP > 5m",
    '{__name__=~"DCGM_FI_DEV_GPU_(UTIL|TEMP)"} == ignoring(pod, namespace) DCGM_FI_DEV_GPU_TEMP',
    'rate({__name__=~"DCGM_FI_DEV_GPU_(UTIL|TEMP)"}[5m])',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "UUID", "x", "gpu", ".*")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "~", "x", "gpu", ".*")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "x", "x", "gpu", "(")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "x", "x", "gpu", "(?P<a>.)(?P<a>.)")',
    'label_join(DCGM_FI_DEV_GPU_TEMP, "x", "-", "a-b")',
    'label_join(DCGM_FI_DEV_GPU_TEMP, "x")',
    'count_values("a-b", DCGM_FI_DEV_GPU_TEMP)',
    "holt_winters(DCGM_FI_DEV_GPU_TEMP[5m], 0, 0.5)",
    "holt_winters(DCGM_FI_DEV_GPU_TEMP[5m], 0.5, 1)",
    "sum(DCGM_FI_DEV_GPU_TEMP) offset 5m",
    "DCGM_FI_DEV_GPU_TEMP offset 5m offset 5m",
    "1 and DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP + on(gpu) group_left(gpu) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP and on(gpu) group_left DCGM_FI_DEV_GPU_TEMP",
    "sum by (a-b) (DCGM_FI_DEV_GPU_TEMP)",
    "abs(DCGM_FI_DEV_GPU_TEMP,)",
]

SUBQUERIES = [
    "max_over_time(DCGM_FI_DEV_GPU_TEMP[10m:1m])",
    "quantile_over_time(0.5, max(DCGM_FI_DEV_GPU_TEMP)[30m:1m])",
    "avg_over_time((DCGM_FI_DEV_GPU_UTIL > 20)[10m:])",
    "sum_over_time((DCGM_FI_DEV_POWER_USAGE > bool 300)[5m:30s]) * 30",
    "max_over_time(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[2m])[10m:45s])",
    "rate(sum by (Hostname) (DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION)[10m:1m] offset 3m)",
    "deriv(max_over_time(DCGM_FI_DEV_GPU_TEMP[5m:1m] offset 1m)[20m:2m])",
    "count_over_time(DCGM_FI_DEV_GPU_TEMP[10m:7s])",
    "last_over_time(DCGM_FI_DEV_GPU_TEMP[5m:2m])",
    "absent_over_time(DCGM_FI_DEV_GPU_TEMP{UUID='GPU-01'}[5m:1m])",
    f"sum_over_time(DCGM_FI_DEV_GPU_TEMP[5m:1m] @ {START + 1500})",
    f"sum_over_time((DCGM_FI_DEV_GPU_TEMP @ {START + 1500})[5m:1m])",
    "sum_over_time(timestamp(DCGM_FI_DEV_GPU_TEMP)[5m:1m] @ end() offset 2m)",
    "max_over_time(vector(time())[5m:7s])",
    "min_over_time(DCGM_FI_DEV_GPU_TEMP[3s:1m])",
    "stddev_over_time((DCGM_FI_DEV_GPU_TEMP)[5m:1m])",
]
TRENDS = [
    *(
        f"{function}(DCGM_FI_DEV_GPU_TEMP[{span}])"
        for function in ("deriv", "absent_over_time", "present_over_time")
        for span in ("30s", "5m")
    ),
    "deriv(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[10m])",
    "predict_linear(DCGM_FI_DEV_GPU_TEMP[10m], 600)",
    "predict_linear(DCGM_FI_DEV_GPU_TEMP[10m] offset 5m, -60)",
    "predict_linear(DCGM_FI_DEV_GPU_UTIL[5m], scalar(DCGM_FI_DEV_GPU_UTIL{UUID='GPU-22'}))",
    "holt_winters(DCGM_FI_DEV_GPU_TEMP[10m], 0.3, 0.7)",
    "holt_winters(DCGM_FI_DEV_GPU_UTIL[1m], 0.01, 0.1)",
    "stddev_over_time((DCGM_FI_DEV_GPU_TEMP * 0 + 0.1)[10m:15s])",
    "sum_over_time((DCGM_FI_DEV_GPU_TEMP * 1e300)[10m:15s])",
    "avg_over_time((DCGM_FI_DEV_GPU_TEMP * 1e306)[10m:15s])",
]
LABELS = [
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "node", "$1", "Hostname", "host-(.+)")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "a", "${all}/$2-$x$$", "gpu", "(?P<all>[0-9])([0-9])?")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "a", "$1$2$10", "Hostname", "(x)?host-([0-2])")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "pod", "", "pod", ".*")',
    'label_replace(DCGM_FI_DEV_GPU_UTIL, "pod", "none", "pod", "")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "__name__", "t_$0", "__name__", "DCGM_FI_DEV_(.*)")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "a", "x", "Hostname", "host")',
    'label_replace(DCGM_FI_DEV_GPU_TEMP, "a", "$1", "modelName", `(\\w+) \\Q100\\E.*|(?i)(a100)`)',
    'sum by (rack) (label_replace(DCGM_FI_DEV_GPU_TEMP, "rack", "r$1", "Hostname", ".*-([0-9])"))',
    'label_join(DCGM_FI_DEV_GPU_UTIL, "place", "/", "Hostname", "gpu", "no_such")',
    'label_join(DCGM_FI_DEV_GPU_UTIL, "Hostname", "-")',
    'count_values("celsius", round(DCGM_FI_DEV_GPU_TEMP, 10))',
    'count_values by (Hostname) ("value", DCGM_FI_DEV_GPU_UTIL)',
    'count_values without (gpu, UUID, device) ("gpu", DCGM_FI_DEV_GPU_UTIL / 3)',
    "DCGM_FI_DEV_GPU_TEMP{Hostname=~`host-\\d`}",
    'DCGM_FI_DEV_GPU_TEMP{Hostname=~"\\\\Qhost-1\\\\E|host\\\\0552"}',
    'DCGM_FI_DEV_GPU_TEMP{Hostname="x @ 0.000"} or DCGM_FI_DEV_GPU_TEMP{gpu="1"}',
    "DCGM_FI_DEV_GPU_TEMP @ -10",
    "anchored or smoothed or DCGM_FI_DEV_GPU_TEMP",
]
DATES = [
    *(
        f"{part}({of})"
        for part in ("minute", "hour", "day_of_week", "day_of_month", "day_of_year",
                     "days_in_month", "month", "year")
        for of in ("", "DCGM_FI_DEV_GPU_TEMP * 3e7", "-DCGM_FI_DEV_GPU_TEMP * 1e9")
    ),
    *(
        f"{function}(DCGM_FI_DEV_GPU_TEMP / 50 - 1)"
        for function in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh",
                         "asinh", "acosh", "atanh", "rad", "deg")
    ),
    "+DCGM_FI_DEV_GPU_TEMP",
    "clamp(DCGM_FI_DEV_GPU_TEMP, -Inf, NaN)",
    "clamp(DCGM_FI_DEV_GPU_TEMP, NaN, Inf)",
    "clamp_min(DCGM_FI_DEV_GPU_TEMP, Inf)",
    "clamp_max(DCGM_FI_DEV_GPU_TEMP, -Inf)",
    "clamp_max(DCGM_FI_DEV_GPU_TEMP, NaN)",
    "avg(DCGM_FI_DEV_GPU_TEMP * 1e307)",
    "stddev(DCGM_FI_DEV_GPU_UTIL * 0 + 0.1)",
    "stdvar by (gpu) (DCGM_FI_DEV_GPU_TEMP)",
    "010 + 0x1f",
    "histogram_count(DCGM_FI_DEV_GPU_TEMP)",
]  # fmt: skip
HISTOGRAMS = [
    *(
        f"histogram_quantile({q}, LATENCY_bucket)"
        for q in ("0", "0.5", "0.99", "1", "-1", "2", "NaN")
    ),
    "histogram_quantile(0.9, sum by (le) (rate(LATENCY_bucket[5m])))",
    "histogram_quantile(0.9, sum by (Hostname, le) (LATENCY_bucket))",
    'histogram_quantile(0.5, LATENCY_bucket{le!="+Inf"})',
    'histogram_quantile(0.5, LATENCY_bucket{le=~"0.1|.Inf"})',
    "histogram_quantile(scalar(DCGM_FI_DEV_GPU_UTIL{UUID='GPU-22'}) / 100, LATENCY_bucket)",
    "histogram_quantile(0.9, DCGM_FI_DEV_GPU_UTIL)",
]
MATCHING = [
    "DCGM_FI_DEV_POWER_USAGE * on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "no_such * on(Hostname) DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP{UUID='GPU-20'} * on(modelName) DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_GPU_TEMP{gpu='1'} == on(Hostname) group_right DCGM_FI_DEV_GPU_TEMP",
    "DCGM_FI_DEV_GPU_TEMP < on(Hostname) DCGM_FI_DEV_GPU_TEMP{gpu='1'}",
    "DCGM_FI_DEV_GPU_TEMP > on(Hostname) DCGM_FI_DEV_GPU_TEMP{gpu='1'}",
    "DCGM_FI_DEV_GPU_TEMP atan2 on(UUID) DCGM_FI_DEV_GPU_UTIL",
    '{__name__=~"DCGM_FI_DEV_GPU_(UTIL|TEMP)"} > bool 1 unless on() no_such',
]
QUESTIONS = {
    "selectors": SELECTORS,
    "ranges": RANGES,
    "aggregations": AGGREGATIONS,
    "operators": OPERATORS,
    "functions": FUNCTIONS,
    "subqueries": SUBQUERIES,
    "trends": TRENDS,
    "labels": LABELS,
    "dates": DATES,
    "histograms": HISTOGRAMS,
    "matching": MATCHING,
    "errors": ERRORS,
}
"""All of them, by what they are about."""
_AT = ("time", str(START + 1000))
_SPAN = (("start", str(START)), ("end", str(START + 3600)))
REQUESTS: list[tuple[str, list[tuple[str, str]]]] = [
    ("query", [_AT]),
    ("query", [("query", "1"), ("time", "yesterday")]),
    ("query", [("query", '"text"'), _AT]),
    ("query", [("query", "(DCGM_FI_DEV_GPU_TEMP{gpu='2'}[1m])"), _AT]),
    ("query", [("query", "DCGM_FI_DEV_GPU_TEMP{gpu='2'}[5m:1m]"), _AT]),
    ("query_range", [("query", '"text"'), *_SPAN, ("step", "60")]),
    ("query_range", [("query", "(DCGM_FI_DEV_GPU_UTIL[5m])"), *_SPAN, ("step", "60")]),
    ("query_range", [("query", "DCGM_FI_DEV_GPU_UTIL[5m:1m]"), *_SPAN, ("step", "60")]),
    ("query_range", [("query", "1"), ("start", ""), ("end", "60"), ("step", "60")]),
    ("query_range", [("query", "1"), ("start", "0"), ("end", "60"), ("step", "")]),
    ("query_range", [("query", "1"), ("start", "0"), ("end", "60"), ("step", "30"),
                     ("timeout", "")]),
    ("labels", [("start", ""), ("end", "")]),
    ("labels", [("start", "-292273086-05-16T16:47:06Z"),
                ("end", "292277025-08-18T07:12:54.999999999Z")]),
    ("label/gpu/values", [("match[]", "DCGM_FI_DEV_POWER_USAGE"), *_SPAN]),
    ("label/a-b/values", []),
    ("series", []),
    ("series", [("match[]", "DCGM_FI_DEV_POWER_USAGE"), ("limit", "1")]),
    ("query_exemplars", [("query", "up"), ("start", "0"), ("end", "1")]),
    ("query_exemplars", [("query", "up"), ("start", "1"), ("end", "0")]),
    ("query_exemplars", [("query", "up(")]),
    ("rules", []),
    ("rules", [("type", "alert")]),
    ("rules", [("type", "x")]),
    ("alerts", []),
    ("alertmanagers", []),
    ("targets", []),
    ("targets/metadata", []),
    ("targets/metadata", [("limit", "x")]),
    ("metadata", [("limit", "x")]),
    ("status/walreplay", []),
    *(
        ("format_query", [("query", query)])
        for queries in QUESTIONS.values()
        for query in queries
    ),
    *(
        ("format_query", [("query", query)])
        for query in (
            "sum by(Hostname)(rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu!='1'}[5m] offset -1h))"
            " / on(Hostname) group_left(modelName,pod) "
            "max by(Hostname)(DCGM_FI_DEV_GPU_TEMP{Hostname=~'host-[0-2]'} @ end())",
            "histogram_quantile(0.9,sum without(gpu,UUID,device)"
            '(rate(LATENCY_bucket{Hostname="host-1"}[1d2h]))) > bool (1e21 + 1e-7 + -Inf + NaN)'
            " or vector(0.30000000000000004) unless on() absent(no_such_metric_with_a_long_name)",
            "max_over_time((DCGM_FI_DEV_GPU_TEMP - on(UUID,gpu) group_right() "
            'DCGM_FI_DEV_GPU_UTIL{pod=~"train-.+"})[30m:] @ 12.5)',
            "label_replace(topk(3,DCGM_FI_DEV_GPU_TEMP),\"a\\tb\",'\"$1\\u00e9',`x`,`(.*)`)",
            "-(((DCGM_FI_DEV_GPU_TEMP + DCGM_FI_DEV_GPU_UTIL) * "
            "(DCGM_FI_DEV_POWER_USAGE + DCGM_FI_DEV_POWER_USAGE_AND_MORE)))",
            "a[1y] + b[1w]", "rate(a[1w1h] offset 1y)", "1+1+1", "{a='1',__name__=~'x'}",
            "sum by()(a)", "123456 + 1234567 + 0.0001 + 0.00001 + 0x10",
        )
    ),
]  # fmt: skip
"""What is asked beside the questions: a path and its parameters."""
