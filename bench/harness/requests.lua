-- wrk sends each line of a file once: method, path, token, key and body, with tabs between. Ends with the answer that
-- completes the number asked for, and prints what was answered and how long it took as JSON.
-- Arguments: the file, how many of its requests to count, and after how many seconds to end all the same. Requests
-- after those only keep all connections busy to the end.

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
    -- wrk calls this once before it begins, and throws the answer away.
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
