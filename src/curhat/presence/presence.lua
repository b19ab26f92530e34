-- Presence in Valkey. All operations are in one script, so that readers and writers use one clock (Valkey's own) and
-- the same windows. `store.py` defines MAY_BE_ASKED_MS, CONNECTED_MS, HEARD_MS, COME_BACK_MS, HEARTBEAT_MS,
-- MAX_CLOCK_STEP_MS, CUSTOMER_CONNECTED_MS and KEY_TTL_MS above this text.
-- Every time is in ms.
--
-- KEYS[1]   curhat:available   sorted set: mitra → when its reachability ends. Holds only mitras that can take a
--                              customer.
-- KEYS[2…]  curhat:mitra:<id>  hash with the fields
--                                version          of the state that was last applied
--                                askable          '1' if the mitra can take a customer
--                                push_until       when push stops reaching the mitra
--                                suspended        '1' if the mitra is suspended
--                                newly_available  a mark, until the open blasts have been offered to the mitra
--                                marked           the version of the last state for which the mark was decided
--                                heard            when the mitra was last known to be connected
--                                connection:<id>  "<seen>" or "<seen> <closed>"
--                                since:<id>       "<heard since> <present since>" of that connection
--           curhat:customers   sorted set: customer → when it stops counting as connected
-- KEYS[last] curhat:filling    an id that is new after Valkey was empty
-- ARGV[1]   the operation, followed by its arguments: the same number for each key of KEYS[2…]
-- ARGV[last] Valkey's time when the process sent the call: never later than the true time, and '' if unknown
--
-- Returns the time of Valkey's clock, the answer of the operation, and the id of curhat:filling.

local AVAILABLE, FILLING = KEYS[1], table.remove(KEYS)
local time = server.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Ages and durations count from `sent`, not from `now`. Valkey may run a call long after the process sent the call,
-- for example after Valkey was stopped. If the clock was set back meanwhile, `sent` may lie in the future.
local sent = math.min(now, tonumber(table.remove(ARGV)) or now)

-- A mark that no other call sets on the same mitra.
local mark = time[1] .. '.' .. time[2]

-- Deletes a damaged key, which holds another type than ours. The next heartbeat restores the key.
local function drop_unless(kind, key)
    local found = server.call('TYPE', key)['ok']
    if found ~= kind and found ~= 'none' then server.call('DEL', key) end
end

local function read(key)
    local flat, fields = server.call('HGETALL', key), {}
    for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
    return fields
end

-- Returns when a connection's last frame came, and when the connection closed (nil while it is open). For an
-- unreadable value, the frame's time is 0. A time in the future was written before this clock was set back. If it
-- counted, a mitra who has gone would stay connected until the clock reaches that time again. So it counts as 0, and
-- the next report writes the right time.
local function frames(value)
    local seen, closed = string.match(value or '', '^(%d+) ?(%d*)$')
    seen, closed = tonumber(seen) or 0, tonumber(closed)
    if seen > now + MAX_CLOCK_STEP_MS then seen = 0 end
    if closed and closed > now + MAX_CLOCK_STEP_MS then closed = 0 end
    return seen, closed
end

-- Returns when the mitra was last known to be connected, 0 if unknown. A time in the future was written before this
-- clock was set back.
local function last_heard(value)
    local at = tonumber(value) or 0
    return at <= now + MAX_CLOCK_STEP_MS and at or 0
end

-- Returns two beginnings, each nil if unknown. Since the first, frames came on this connection without a gap of HEARD_MS.
-- Since the second, the mitra was present without a gap of COME_BACK_MS: on this connection, and on others before it.
-- A time in the future was written before this clock was set back, and is unknown.
local function beginnings(fields, id)
    local heard, present = string.match(fields['since:' .. id] or '', '^(%d+) (%d+)$')
    heard, present = tonumber(heard), tonumber(present)
    if heard and heard > now + MAX_CLOCK_STEP_MS then heard = nil end
    if present and present > now + MAX_CLOCK_STEP_MS then present = nil end
    return heard, present
end

-- Returns since when the mitra was present, for a connection that was opened at `opened`: also on an earlier connection,
-- if that one ended less than COME_BACK_MS before. Without a report of its close, an earlier connection may have ended
-- right after its last frame, because its process died.
local function present_since(fields, id, opened)
    local since = opened
    for name, value in pairs(fields) do
        local other = string.match(name, '^connection:(.*)$')
        if other and other ~= id then
            local seen, closed = frames(value)
            local _, present = beginnings(fields, other)
            local ended = closed and math.min(closed, seen + CONNECTED_MS) or seen
            if present and ended + COME_BACK_MS > opened then since = math.min(since, present) end
        end
    end
    return since
end

-- Returns until when the mitra may be asked, until when it is connected, and the fields of the connections whose
-- lease is over.
-- A close can only shorten a lease. A suspended mitra has no lease: its sockets are being closed, and a report of a
-- frame may still be under way.
local function leases(fields)
    local asked_until, connected_until, over = 0, 0, {}
    local suspended = fields['suspended'] == '1'
    for name, value in pairs(fields) do
        if string.sub(name, 1, 11) == 'connection:' then
            local seen, closed = frames(value)
            local come_back_until = closed and closed + COME_BACK_MS or math.huge
            local asked = math.min(seen + MAY_BE_ASKED_MS, come_back_until)
            if suspended or asked <= now then
                table.insert(over, name)
                table.insert(over, 'since:' .. string.sub(name, 12))
            else
                asked_until = math.max(asked_until, asked)
                connected_until = math.max(connected_until, math.min(seen + CONNECTED_MS, come_back_until))
            end
        end
    end
    return asked_until, connected_until, over
end

-- Returns until when push reaches the mitra. A value that is unreadable, or later than store.py ever writes, counts
-- as 0.
local function push_until(fields)
    local written = tonumber(string.match(fields['push_until'] or '', '^%d+$')) or 0
    return written <= now + KEY_TTL_MS and written or 0
end

-- Writes the sorted set from the hash. Returns may-be-asked and connected, each 1 or 0. Marks the mitra as newly
-- available if it could not be asked before, or if its state has changed: between two states that this script saw, the
-- mitra may have been offline or at capacity, and so may have lost requests.
local function settle(key, mitra, fields, is_changed)
    local asked_until, connected_until, over = leases(fields)
    if #over > 0 then server.call('HDEL', key, unpack(over)) end
    -- Push makes a mitra eligible for offers (1.1). It never counts as being connected (5.6).
    asked_until = math.max(asked_until, push_until(fields))
    local may_be_asked = fields['askable'] == '1' and asked_until > now
    if may_be_asked then
        local asked_before = tonumber(server.call('ZSCORE', AVAILABLE, mitra) or 0)
        if is_changed or asked_before <= now then
            fields['newly_available'] = mark
            server.call('HSET', key, 'newly_available', mark)
        end
        server.call('ZADD', AVAILABLE, string.format('%.0f', asked_until), mitra)
    else
        server.call('ZREM', AVAILABLE, mitra)
    end
    server.call('PEXPIRE', key, KEY_TTL_MS)
    return may_be_asked and 1 or 0, connected_until > now and 1 or 0
end

local operations = {}

-- Records frames and closes. Arguments per key: mitra, connection, ms since it was opened, ms since its last frame, ms
-- since it closed ('' while open). Reports may be repeated, late or out of order: the newest frame counts, and a closed connection stays closed.
-- Returns the mitras without a stored state, for example after Valkey was wiped. The caller applies their states.
function operations.report()
    local unknown = {}
    drop_unless('zset', AVAILABLE)
    for i = 2, #KEYS do
        local at = 5 * i - 8
        local mitra, id = ARGV[at], ARGV[at + 1]
        local name, since = 'connection:' .. id, 'since:' .. id
        drop_unless('hash', KEYS[i])
        local fields = read(KEYS[i])
        local seen, closed = frames(fields[name])
        local heard, present = beginnings(fields, id)
        local frame = sent - ARGV[at + 3]
        -- If reports were lost, for example while Valkey was away, the frames between these two count as not heard.
        if not heard or frame - seen >= HEARD_MS then heard = math.max(seen, frame) end
        present = present or present_since(fields, id, sent - ARGV[at + 2])
        seen = math.max(seen, frame)
        if not closed and ARGV[at + 4] ~= '' then closed = sent - ARGV[at + 4] end
        fields[name] = string.format('%.0f', seen) .. (closed and string.format(' %.0f', closed) or '')
        fields[since] = string.format('%.0f %.0f', heard, present)
        -- A close proves that the mitra was connected until then, if frames came until then.
        local heard_at = math.max(last_heard(fields['heard']), closed and math.min(closed, seen + HEARTBEAT_MS) or seen)
        server.call('HSET', KEYS[i], name, fields[name], since, fields[since],
            'heard', string.format('%.0f', heard_at))
        settle(KEYS[i], mitra, fields)
        if not tonumber(fields['version']) then table.insert(unknown, mitra) end
    end
    server.call('PEXPIRE', AVAILABLE, KEY_TTL_MS)
    return unknown
end

-- Stores states from PostgreSQL. Arguments per key: mitra, version, askable ('1' or '0'), ms for which push reaches it,
-- suspended ('1' or '0').
-- Ignores a state older than the stored one, so a process that read before a change cannot undo the change. Two states
-- of one version differ only in the reach of push, by seconds. The next round corrects that. Returns per mitra
-- may-be-asked, connected, and its mark: '' if the mitra may not be asked, or if all open blasts have been offered to it.
-- A script of the previous release stores versions without marks, so `marked` is a field of its own.
function operations.apply()
    local answers = {}
    drop_unless('zset', AVAILABLE)
    for i = 2, #KEYS do
        local at = 5 * i - 8
        drop_unless('hash', KEYS[i])
        local fields = read(KEYS[i])
        if tonumber(ARGV[at + 1]) >= (tonumber(fields['version']) or 0) then
            fields['version'], fields['askable'] = ARGV[at + 1], ARGV[at + 2]
            fields['push_until'] = string.format('%.0f', sent + ARGV[at + 3])
            fields['suspended'] = ARGV[at + 4]
            server.call('HSET', KEYS[i], 'version', ARGV[at + 1], 'askable', ARGV[at + 2],
                'push_until', fields['push_until'], 'suspended', ARGV[at + 4])
        end
        local version = tonumber(fields['version'])
        local is_changed = version > (tonumber(fields['marked']) or 0)
        if is_changed then server.call('HSET', KEYS[i], 'marked', fields['version']) end
        local may_be_asked, connected = settle(KEYS[i], ARGV[at], fields, is_changed)
        table.insert(answers, may_be_asked)
        table.insert(answers, connected)
        table.insert(answers, may_be_asked == 1 and fields['newly_available'] or '')
    end
    server.call('PEXPIRE', AVAILABLE, KEY_TTL_MS)
    return answers
end

-- Removes marks. Arguments per key: the mark. Keeps a mark that was set after the caller read its own.
function operations.offered()
    for i = 2, #KEYS do
        drop_unless('hash', KEYS[i])
        if server.call('HGET', KEYS[i], 'newly_available') == ARGV[i] then
            server.call('HDEL', KEYS[i], 'newly_available')
        end
    end
    return #KEYS - 1
end

-- Returns per mitra three numbers for each connection: the ms since its last frame, and since its two beginnings. An
-- unknown beginning counts as now. Ignores connections that closed and did not come back in time.
function operations.heard()
    local answers = {}
    for i = 2, #KEYS do
        local fields, answer = read(KEYS[i]), {}
        for name, value in pairs(fields) do
            local id = string.match(name, '^connection:(.*)$')
            local seen, closed = frames(value)
            if id and seen > 0 and (not closed or closed + COME_BACK_MS > now) then
                local heard, present = beginnings(fields, id)
                table.insert(answer, math.max(0, now - seen))
                table.insert(answer, math.max(0, now - (heard or now)))
                table.insert(answer, math.max(0, now - (present or now)))
            end
        end
        table.insert(answers, answer)
    end
    return answers
end

-- Returns per mitra the ms since it was last known to be connected, or -1 if that is unknown.
function operations.heard_ages()
    local answers = {}
    for i = 2, #KEYS do
        local at = last_heard(server.call('HGET', KEYS[i], 'heard'))
        table.insert(answers, at > 0 and math.max(0, now - at) or -1)
    end
    return answers
end

-- Returns may-be-asked and connected per mitra.
function operations.look()
    local answers = {}
    for i = 2, #KEYS do
        local _, connected_until = leases(read(KEYS[i]))
        local asked_until = tonumber(server.call('ZSCORE', AVAILABLE, ARGV[i]) or 0)
        table.insert(answers, asked_until > now and 1 or 0)
        table.insert(answers, connected_until > now and 1 or 0)
    end
    return answers
end

-- Counts the customers ARGV[3…] as connected for ARGV[2] ms since the call was sent.
function operations.customers_seen()
    drop_unless('zset', KEYS[2])
    local until_when = string.format('%.0f', sent + ARGV[2])
    for i = 3, #ARGV do server.call('ZADD', KEYS[2], until_when, ARGV[i]) end
    server.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
    server.call('PEXPIRE', KEYS[2], KEY_TTL_MS)
    return #ARGV - 2
end

-- Returns 1 or 0 per customer of ARGV[2…]: whether it is connected now. A time that is too late was written before the
-- clock was set back, and does not count.
function operations.customers_connected()
    local answers = {}
    for i = 2, #ARGV do
        local until_when = tonumber(server.call('ZSCORE', KEYS[2], ARGV[i]) or 0)
        local is_connected = until_when > now and until_when <= now + CUSTOMER_CONNECTED_MS + MAX_CLOCK_STEP_MS
        table.insert(answers, is_connected and 1 or 0)
    end
    return answers
end

-- Only reads the clock.
function operations.clock()
    return 0
end

-- Returns every mitra who may be asked now.
function operations.candidates()
    return server.call('ZRANGE', AVAILABLE, string.format('(%.0f', now), '+inf', 'BYSCORE')
end

-- Returns how many mitras may be asked now.
function operations.count()
    return server.call('ZCOUNT', AVAILABLE, string.format('(%.0f', now), '+inf')
end

-- Removes at most ARGV[2] mitras whose reachability is over. A mitra's next frame adds it again. Returns how many.
function operations.prune()
    drop_unless('zset', AVAILABLE)
    server.call('SET', FILLING, server.call('GET', FILLING))
    local until_now = string.format('%.0f', now)
    local stale = server.call('ZRANGE', AVAILABLE, '-inf', until_now, 'BYSCORE', 'LIMIT', 0, ARGV[2])
    if #stale > 0 then server.call('ZREM', AVAILABLE, unpack(stale)) end
    return #stale
end

drop_unless('string', FILLING)
local filling = server.call('GET', FILLING)
if not filling then
    filling = string.format('%.0f-%d', now, time[2])
    server.call('SET', FILLING, filling)
end
return {now, operations[ARGV[1]](), filling}
