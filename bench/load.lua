-- Sends the requests of a file, one a line: method, path, headers and body, parted by tabs; headers by "|".
-- Arguments: the file, the number of threads, "repeat" or "once", and the mean of milliseconds between
-- requests of a connection.
local started = {}

function setup(thread)
   thread:set("index", #started)
   started[#started + 1] = thread
end

function init(args)
   local file, threads = args[1], tonumber(args[2])
   again, pause = args[3] == "repeat", tonumber(args[4])
   requests, position = {}, 0
   local number = 0
   for line in io.lines(file) do
      if number % threads == index or again then
         local method, path, headers, body = line:match("^([^\t]*)\t([^\t]*)\t([^\t]*)\t(.*)$")
         local fields = {}
         for name, value in headers:gmatch("([^|:]+): ([^|]*)") do
            fields[name] = value
         end
         requests[#requests + 1] = wrk.format(method, path, fields, body ~= "" and body or nil)
      end
      number = number + 1
   end
   if pause > 0 then
      -- Its mean; never the same, or all connections would ask at the same moment, again and again.
      math.randomseed(index + 1)
      delay = function() return math.random(0, 2 * pause) end
   end
end

function request()
   position = position + 1
   if position > #requests then
      if not again then
         spent = true
         wrk.thread:stop()
         return requests[#requests]
      end
      position = 1
   end
   return requests[position]
end

function done(summary, latency)
   local errors, ran_out = summary.errors, false
   for _, thread in ipairs(started) do
      ran_out = ran_out or thread:get("spent") == true
   end
   io.write(string.format(
      '\nRESULT {"requests": %d, "seconds": %f, "refused": %d, "broken": %d, "p50": %f, "p99": %f, "spent": %s}\n',
      summary.requests, summary.duration / 1e6, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50) / 1000, latency:percentile(99) / 1000, tostring(ran_out)))
end
