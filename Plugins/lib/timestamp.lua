-- Times as plugins have them, seconds since 1970 with a fraction, as text: "2024-01-01T00:00:00.500Z".
return function(seconds)
  if not seconds then return nil end
  local milliseconds = math.floor(seconds * 1000 + 0.5)
  return os.date("!%Y-%m-%dT%H:%M:%S", milliseconds // 1000) .. (".%03dZ"):format(milliseconds % 1000)
end
