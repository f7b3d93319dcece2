-- One mail about a batch of orders.
--
--   subscriber daily_digest {
--     from  orders
--     where type = 'order.placed'
--     run   digest { to "owner@example.com" }
--     batch 500 every 24h
--     allow mail
--   }

local function handle_batch(events, ctx)
  local totals, customers, biggest = {}, {}, nil
  for _, event in ipairs(events) do
    local order = event.data
    totals[order.currency] = (totals[order.currency] or 0) + order.total
    if order.customer and order.customer.id then customers[order.customer.id] = true end
    if not biggest or order.total > biggest.total then
      biggest = { total = order.total, currency = order.currency, order_id = order.order_id }
    end
  end

  local currencies = {}
  for currency in pairs(totals) do currencies[#currencies + 1] = currency end
  table.sort(currencies)
  local count = 0
  for _ in pairs(customers) do count = count + 1 end

  local lines = { ("%d orders of %d customers"):format(#events, count), "" }
  for _, currency in ipairs(currencies) do
    lines[#lines + 1] = ("  %10.2f %s"):format(totals[currency], currency)
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = ("The biggest was %s: %s %s"):format(biggest.order_id, biggest.total, biggest.currency)

  ctx.mail.send {
    from = ctx.config.from, to = ctx.config.to,
    subject = ("%d orders"):format(#events),
    text = table.concat(lines, "\n"),
  }
end

return {
  api = 1, version = "1.0.0",
  config = {
    to = { type = "string", required = true },
    from = { type = "string", default = "fairlead@localhost" },
  },
  requires = { mail = true },
  handle_batch = handle_batch,
}
