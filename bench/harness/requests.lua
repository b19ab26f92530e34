-- For wrk: sends each line of a file once. A line is method, path, token, key and body, separated by tabs. Ends with the
-- last counted answer, and prints the statuses and the time as JSON.
-- Arguments: the file, the number of answers to count, and the maximum time in seconds. The requests after the counted
-- ones keep all connections busy until the end.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } bench_time;
int clock_gettime(int clock, bench_time *now);
]]

local lines, asked, longest, sent, answered = {}, 0, 0, 0, 0
local verified, began = false, nil
local statuses = {}
local time = ffi.new("bench_time")

local function now()
    ffi.C.clock_gettime(1, time)
    return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function init(arguments)
    for line in io.lines(arguments[1]) do
        lines[#lines + 1] = line
    end
    asked, longest = tonumber(arguments[2]), tonumber(arguments[3])
end

local function raw(line)
    local method, path, token, key, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
    local headers = { ["Host"] = wrk.headers["Host"] }
    if token ~= "" then headers["Authorization"] = "Bearer " .. token end
    if key ~= "" then headers["Idempotency-Key"] = key end
    if body ~= "" then headers["Content-Type"] = "application/json" end
    if method ~= "GET" then headers["Content-Length"] = #body end
    return wrk.format(method, path, headers, body ~= "" and body or nil)
end

function request()
    -- wrk calls this once before the run and does not send the result.
    if not verified then
        verified = true
        return raw(lines[1])
    end
    began = began or now()
    sent = sent + 1
    return raw(lines[sent])
end

function response(status)
    answered = answered + 1
    statuses[status] = (statuses[status] or 0) + 1
    local seconds = now() - began
    if answered == asked or seconds > longest then
        local counts = {}
        for code, count in pairs(statuses) do
            counts[#counts + 1] = string.format('"%d": %d', code, count)
        end
        print(string.format('{"seconds": %.6f, "statuses": {%s}}', seconds, table.concat(counts, ", ")))
        io.stdout:flush()
        os.exit(0)
    end
end
