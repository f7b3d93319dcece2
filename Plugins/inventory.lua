-- Counts stock. State writes, the `stock.low` event and the acknowledgement are committed together, so each order
-- counts exactly once, whatever fails in between.
--
--   subscriber inventory {
--     from  orders
--     where type in ('order.placed', 'order.refunded')
--     run   inventory { low_water 5 }
--     allow publish stock
--     ordered
--   }

local function handle(event, ctx)
  local direction = event.type == "order.refunded" and 1 or -1
  for _, item in ipairs(event.data.items or {}) do
    local key = "stock:" .. item.sku
    local before = ctx.state.get(key)
    if before == nil then
      before = ctx.config.initial
      ctx.state.put(key, before)
    end
    local left = ctx.state.add(key, direction * item.quantity)
    if left < 0 then
      ctx.log.warn("sold more than there is", { sku = item.sku, left = left, order = event.data.order_id })
    end
    if before > ctx.config.low_water and left <= ctx.config.low_water then
      ctx.publish("stock", { sku = item.sku, left = left, order_id = event.data.order_id }, { type = "stock.low" })
    end
  end
end

return {
  api = 1, version = "1.0.0", state_version = 1,
  config = {
    low_water = { type = "integer", default = 5, min = 0 },
    initial = { type = "integer", default = 0 },
  },
  requires = { publish = { "stock" } },
  handle = handle,
}
