// SPDX-License-Identifier: Apache-2.0

#include <simdjson.h>

#include <cstring>
#include <string>

extern "C" {
#include "peer.h"
}

extern "C" int handle_event(bytes data) {
  static thread_local simdjson::ondemand::parser parser;
  static thread_local std::string copy;
  copy.reserve(data.count + simdjson::SIMDJSON_PADDING);
  copy.assign(data.data, data.count);
  simdjson::ondemand::document document;
  if (parser.iterate(copy.data(), copy.size(), copy.capacity()).get(document)) fail("handle", "no JSON");
  std::string_view order, currency;
  double total;
  if (document["order_id"].get_string().get(order) || document["total"].get_double().get(total) ||
      document["currency"].get_string().get(currency)) {
    fail("handle", "an event of another kind");
  }
  if (!(total > 100 && currency == "EUR")) return 0;
  std::string line(order);
  line += currency;
  return (int)line.size();
}
