-- wrk script: one reading a request, from 50 sensors in turn. The key comes from API_KEY in the
-- environment. Requests are formatted once, before the run: the generator shares the cores.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local requests, n = {}, 0

function init()
  local headers = {
    ["X-API-Key"] = os.getenv("API_KEY"),
    ["Content-Type"] = "application/json",
  }
  for i = 1, 1000 do
    local body = string.format(
      '{"temperature":%.2f,"humidity":%.2f,"pressure":%.2f,"sensor_id":"sensor-%02d"}',
      20 + i % 10 + i / 1000, 50 + i % 20, 1000 + i % 30, i % 50)
    requests[i] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end
