// SPDX-License-Identifier: Apache-2.0

// What a system under test can do, as the load generator (load.c) sees it. One file per system implements it with that
// system's own C client, or over a plain socket where it has none.

#pragma once

#include <stddef.h>
#include <stdint.h>

struct options {
  const char *host;
  int port;
  const char *topic;
  /// Bytes of an event's data.
  int size;
  /// 0, or so many topics: each publish goes to the next of `topic0`, `topic1` and so on. Of Fairlead alone.
  int topics;
  /// Events of one publish or receive call.
  int batch;
  /// Of the fan-out: every event goes to so many subscribers.
  int subscribers;
};

/// A piece of memory that somebody else owns.
struct bytes {
  const char *data;
  size_t count;
};

typedef void (*on_event)(void *context, struct bytes data);

/// Every function ends the process with a message where the system refuses: a load that goes on after an error
/// measures something else.
struct peer {
  const char *name;

  /// Makes the topic, empty, and its subscribers `s0`, `s1` and so on, which start at its first event.
  void (*prepare)(const struct options *);

  /// One publishing connection.
  void *(*open)(const struct options *);
  /// Sends all, and comes back when the system has confirmed each of them.
  void (*publish)(void *connection, const struct bytes *events, int count);

  /// One receiving connection of subscriber `index`; others may share the subscriber.
  void *(*subscribe)(const struct options *, int index);
  /// Shows up to `batch` events; comes back with their number, with 0 after about 100 ms without one.
  int (*receive)(void *subscription, on_event, void *context);
  /// Acknowledges what the last `receive` showed, and waits for the answer where the protocol has one.
  void (*acknowledge)(void *subscription);

  /// Handles and acknowledges one batch with a script that the system runs itself; NULL where it runs none.
  int (*script)(void *subscription);
};

extern const struct peer fairlead_peer, nats_peer, redis_peer, rabbitmq_peer;

_Noreturn void fail(const char *what, const char *why);

/// Nanoseconds of a clock that all processes of a machine share.
uint64_t nanoseconds(void);

/// What the Lua handler of the same work does, in C with simdjson: parses, reads two fields, and joins two texts. Nonzero where
/// the event passes `total > 100 and currency = 'EUR'`.
int handle_event(struct bytes data);
