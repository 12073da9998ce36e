-- One request for each line of the file in BENCH_TOKENS, in turn; an empty line is a request without a token. The two threads
-- begin half the file apart, so that none shows what the other has just shown.
local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init()
  requests = {}
  for token in io.lines(os.getenv("BENCH_TOKENS")) do
    wrk.headers["Authorization"] = token ~= "" and "Bearer " .. token or nil
    requests[#requests + 1] = wrk.format()
  end
  at = math.floor(number * #requests / 2)
end

function request()
  at = at % #requests + 1
  return requests[at]
end

-- Requests, microseconds, statuses above 399, other errors, p50 and p99 in microseconds.
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("bench %d %d %d %d %d %d\n", summary.requests, summary.duration, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout, latency:percentile(50), latency:percentile(99)))
end
