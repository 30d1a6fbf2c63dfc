-- Asks the paths of a file in turn, and prints what the benchmarks read: a line of numbers.
local paths, turn = {}, 0
for line in io.lines(os.getenv("BENCH_PATHS")) do paths[#paths + 1] = line end
wrk.headers["Accept"] = os.getenv("BENCH_ACCEPT")
wrk.headers["Accept-Encoding"] = "identity"

function request()
  turn = turn + 1
  return wrk.format("GET", paths[turn % #paths + 1])
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("wrk %d %d %d %d %d %d\n", summary.requests, summary.bytes,
    summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
