-- wrk script: one point of InfluxDB's line protocol a request, with the values and the sensors of
-- single.lua. The server gives each point its time, in nanoseconds.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local requests, n = {}, 0

function init()
  for i = 1, 1000 do
    local body = string.format(
      'reading,sensor_id=sensor-%02d temperature=%.2f,humidity=%.2f,pressure=%.2f',
      i % 50, 20 + i % 10 + i / 1000, 50 + i % 20, 1000 + i % 30)
    requests[i] = wrk.format("POST", nil, nil, body)
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end
