-- Mails a receipt for an order to its customer.
--
--   subscriber receipts {
--     from  orders
--     where type = 'order.placed' and exists data.customer.email
--     run   email_receipt { from "shop@example.com" }
--     allow mail
--   }

local function amount(value, currency)
  if math.type(value) == "integer" then return ("%d %s"):format(value, currency) end
  return ("%.2f %s"):format(value, currency)
end

local function handle(event, ctx)
  local order = event.data
  local known = false
  for _, currency in ipairs(ctx.config.currencies) do
    if currency == order.currency then known = true end
  end
  -- More attempts would not help, but a person can: the dead letter says what to do, and is then sent again.
  if not known then
    return ctx.dead(("order %s is in %s, which receipts can't show: add it to `currencies` in routes.conf")
      :format(order.order_id, tostring(order.currency)))
  end

  local lines = {
    ("Dear %s,"):format(order.customer.name or "customer"), "",
    ("thank you for your order %s:"):format(order.order_id), "",
  }
  for _, item in ipairs(order.items or {}) do
    lines[#lines + 1] = ("  %3d x %s  %s"):format(item.quantity, item.name or item.sku,
      amount(item.price, order.currency))
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "Total: " .. amount(order.total, order.currency)

  ctx.mail.send {
    from = ctx.config.from,
    to = order.customer.email,
    subject = ("Your order %s"):format(order.order_id),
    text = table.concat(lines, "\n"),
  }
end

return {
  api = 1, version = "1.0.0",
  config = {
    from = { type = "string", required = true, pattern = "^[^@%s]+@[^@%s]+$" },
    currencies = { type = "list", default = { "EUR", "USD" } },
  },
  requires = { mail = true },
  handle = handle,
}
