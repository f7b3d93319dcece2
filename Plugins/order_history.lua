-- Keeps, for each customer, how many orders there were, what they came to, and the latest of them.
--
--   subscriber order_history { from orders; run order_history; start earliest }

local function handle(event, ctx)
  local order = event.data
  local customer = order.customer and (order.customer.id or order.customer.email)
  if not customer then return ctx.drop("no customer to remember it for") end

  local key = "customer:" .. customer
  local history = ctx.state.get(key) or { orders = 0, spent = {}, latest = {} }
  if event.type == "order.placed" then
    history.orders = history.orders + 1
    history.spent[order.currency] = (history.spent[order.currency] or 0) + order.total
  elseif event.type == "order.refunded" then
    history.spent[order.currency] = (history.spent[order.currency] or 0) - order.total
  end
  table.insert(history.latest, 1, { order_id = order.order_id, type = event.type, at = event.time })
  while #history.latest > ctx.config.keep do table.remove(history.latest) end
  ctx.state.put(key, history)
end

return {
  api = 1, version = "1.0.0",
  config = { keep = { type = "integer", default = 20, min = 1, max = 1000 } },
  handle = handle,
}
