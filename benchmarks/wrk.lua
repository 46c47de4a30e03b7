-- Requests for wrk: renders the templates of heads.py (its docstring describes the slots) and prints the sum as JSON.
-- Arguments: file of templates, file of keys (one a line, may be empty), seed, bytes of body (0: GET without one; else PUT).
-- Parts are concatenated from a table that is kept, so that a request costs wrk about a microsecond.

local RANDOM_WORDS = 4096
local concat, format, random = table.concat, string.format, math.random
local heads, keys, words, number, body = {}, {}, {}, 0, ""

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- parts: literal, slot, literal, ...: slot i stands at 2 * i
local function parse(text)
  local head, from = { parts = {}, slots = {} }, 1
  for before, slot, after in text:gmatch("(){(%a+)}()") do
    table.insert(head.parts, text:sub(from, before - 1))
    table.insert(head.parts, "")
    table.insert(head.slots, slot)
    from = after
  end
  table.insert(head.parts, text:sub(from))
  return head
end

function init(args)
  local size = tonumber(args[4] or 0)
  for text in read(args[1]):gmatch("(.-\r\n\r\n)") do
    if size > 0 then text = text:gsub("^GET", "PUT"):gsub("\r\n\r\n$", "\r\nContent-Length: " .. size .. "\r\n\r\n") end
    table.insert(heads, parse(text))
  end
  body = ("x"):rep(size)
  for key in read(args[2]):gmatch("[^\n]+") do table.insert(keys, key) end
  math.randomseed(tonumber(args[3]))
  number = random(0, 0x7fffffff)
  for i = 1, RANDOM_WORDS do words[i] = format("%04x%04x", random(0, 0xffff), random(0, 0xffff)) end
end

function request()
  number = number + 1
  local head = heads[number % #heads + 1]
  local parts, slots = head.parts, head.slots
  local key = keys[1] and keys[random(#keys)]
  for i = 1, #slots do
    local slot = slots[i]
    if slot == "hex" then
      parts[2 * i] = words[random(RANDOM_WORDS)]
    elseif slot == "id" then
      parts[2 * i] = format("%08x", number % 0x100000000)
    elseif slot == "n" then
      parts[2 * i] = format("%d", number)
    else
      parts[2 * i] = key
    end
  end
  return concat(parts) .. body
end

function done(summary)
  local errors = summary.errors
  io.write(format(
    '\nsummary {"answered": %d, "duration_s": %.6f, "failed": %d, "refused": %d}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout, errors.status))
end
