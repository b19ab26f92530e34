-- For wrk: sends one request again and again, and prints the statuses as JSON.

function done(summary, latency)
    local errors = summary.errors
    print(string.format('{"seconds": %.6f, "statuses": {"200": %d, "0": %d}}', summary.duration / 1e6,
        summary.requests - errors.status,
        errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
