-- Reads and changes tables by paths such as "customer.email": names, with dots between them.

local paths = {}

local function steps(path)
  local names = {}
  for name in (path .. "."):gmatch("([^.]*)%.") do
    if name == "" then error(("'%s' is no path: a part of it is empty"):format(path), 0) end
    names[#names + 1] = name
  end
  return names
end

function paths.get(data, path)
  for _, name in ipairs(steps(path)) do
    if type(data) ~= "table" then return nil end
    data = data[name]
  end
  return data
end

-- Sets a value, and makes the tables on the way there. A value that stands in the way is replaced by one.
function paths.set(data, path, value)
  local names = steps(path)
  for i = 1, #names - 1 do
    if type(data[names[i]]) ~= "table" then data[names[i]] = {} end
    data = data[names[i]]
  end
  data[names[#names]] = value
end

function paths.remove(data, path)
  local names = steps(path)
  for i = 1, #names - 1 do
    data = type(data) == "table" and data[names[i]]
  end
  if type(data) == "table" then data[names[#names]] = nil end
end

-- A table that can be changed without changing the first, to the bottom; lists of JSON stay lists.
function paths.copy(value, json)
  if type(value) ~= "table" then return value end
  return json.decode(json.encode(value))
end

return paths
