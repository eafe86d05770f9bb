-- wrk script: 1,000 readings a request, 20 of each of 50 sensors, every one with a time of its own. Ten
-- gateways send in turn, each for its own sensors. The whole seconds are counted on from START with
-- each request, the milliseconds are the place in it. FORM is json or lines (of InfluxDB's protocol).
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "report.lua")
local body, n = nil, tonumber(os.getenv("START"))

function init()
  local parts = {}
  for i = 0, 999 do
    local sensor, temperature = i % 50, 20 + i % 10 + i / 1000
    local humidity, pressure = 50 + i % 20, 1000 + i % 30
    if os.getenv("FORM") == "json" then
      parts[#parts + 1] = string.format(
        '{"sensor_id":"sensor-#%02d","recorded_at":@%03d,"temperature":%.2f,'
          .. '"humidity":%.2f,"pressure":%.2f}', sensor, i, temperature, humidity, pressure)
    else
      parts[#parts + 1] = string.format(
        'reading,sensor_id=sensor-#%02d temperature=%.2f,humidity=%.2f,pressure=%.2f @%03d',
        sensor, temperature, humidity, pressure, i)
    end
  end
  if os.getenv("FORM") == "json" then
    body = "[" .. table.concat(parts, ",") .. "]"
    wrk.headers["Content-Type"] = "application/json"
  else
    body = table.concat(parts, "\n")
  end
  wrk.headers["X-API-Key"] = os.getenv("API_KEY")
end

function request()
  n = n + 1
  return wrk.format("POST", nil, nil, (body:gsub("[@#]", { ["@"] = n, ["#"] = n % 10 })))
end
