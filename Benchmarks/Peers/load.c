// SPDX-License-Identifier: Apache-2.0

// The load generator: one work against one system, one line of JSON as its result.
//
//   load SYSTEM WORK [name value]...
//
//   prepare    makes the topic and its subscribers
//   publish    `connections` connections send `events` events, `batch` in flight each
//   receive    `connections` connections receive and acknowledge `events` events that are there already
//   pass       publish and receive at once: each event is parsed, filtered, handled and acknowledged
//   script     as receive, with the system's own scripts
//   fan        `subscribers` subscribers receive and acknowledge `events` events each
//   latency    publishes `rate` events a second for `seconds`, and measures from the moment an event was due (not sent)
//              until it was received
//   idle       how much work this generator itself can do: the same loops against nothing

#include "peer.h"

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct options options = {.host = "127.0.0.1", .topic = "plain", .size = 256, .batch = 500, .subscribers = 1};
static int connections = 8;
static long events = 500000;
static long rate = 1000;
static double seconds = 5;
static const struct peer *peer;

_Noreturn void fail(const char *what, const char *why) {
  fprintf(stderr, "load: %s: %s\n", what, why ? why : "no reason given");
  exit(1);
}

uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

// The same text as `fairlead bench` sends, with the moment at which it was due in digits of a fixed number.
static const char frame[] = "{\"order_id\":\"o-123456\",\"customer\":{\"id\":\"c-42\"},\"total\":129.5,\"currency\":\"EUR\",\"due\":"
                            "10000000000000000000,\"note\":\"";
static const char due_name[] = "\"due\":";
enum { due_digits = 20 };

struct batch {
  struct bytes *events;
  char *memory;
};

static struct batch new_batch(int count) {
  size_t least = sizeof frame - 1 + 2;
  size_t size = (size_t)options.size > least ? (size_t)options.size : least;
  struct batch batch = {calloc((size_t)count, sizeof(struct bytes)), malloc(size * (size_t)count)};
  for (int index = 0; index < count; index++) {
    char *event = batch.memory + size * (size_t)index;
    memset(event, 'x', size);
    memcpy(event, frame, sizeof frame - 1);
    memcpy(event + size - 2, "\"}", 2);
    batch.events[index] = (struct bytes){event, size};
  }
  return batch;
}

static void write_due(struct bytes event, uint64_t due) {
  char *digits = (char *)event.data + (strstr(frame, due_name) - frame) + sizeof due_name - 1;
  for (int index = due_digits - 1; index > 0; index--, due /= 10) digits[index] = (char)('0' + due % 10);
}

static uint64_t read_due(struct bytes data) {
  const char *at = memmem(data.data, data.count, due_name, sizeof due_name - 1);
  if (!at || (size_t)(at - data.data) + sizeof due_name - 1 + due_digits > data.count) fail("receive", "an event of another kind");
  at += sizeof due_name - 1;
  uint64_t due = 0;
  for (int index = 1; index < due_digits; index++) due = due * 10 + (uint64_t)(at[index] - '0');
  return due;
}

static atomic_long claimed, received;
static atomic_bool is_over;

static void *publisher(void *unused) {
  (void)unused;
  void *connection = peer->open(&options);
  struct batch batch = new_batch(options.batch);
  while (true) {
    long first = atomic_fetch_add(&claimed, options.batch);
    if (first >= events) return NULL;
    long left = events - first;
    peer->publish(connection, batch.events, left < options.batch ? (int)left : options.batch);
  }
}

static void take(void *context, struct bytes data) {
  (void)data;
  ++*(long *)context;
}

static void take_and_handle(void *context, struct bytes data) {
  handle_event(data);
  ++*(long *)context;
}

struct receiver {
  int index;
  /// Events of this subscriber that all of its receivers together have taken.
  atomic_long *taken;
  on_event take;
};

static void *receiver(void *argument) {
  struct receiver *me = argument;
  void *subscription = peer->subscribe(&options, me->index);
  while (atomic_load(me->taken) < events) {
    long count = 0;
    if (peer->receive(subscription, me->take, &count) == 0) continue;
    peer->acknowledge(subscription);
    atomic_fetch_add(me->taken, count);
  }
  return NULL;
}

static void *scripter(void *unused) {
  (void)unused;
  void *subscription = peer->subscribe(&options, 0);
  while (atomic_load(&received) < events) atomic_fetch_add(&received, peer->script(subscription));
  return NULL;
}

struct share {
  int first;
  int step;
  atomic_long *taken;
};

/// Serves some of the subscribers by turns.
static void *fan_receiver(void *argument) {
  struct share *me = argument;
  int count = 0;
  for (int index = me->first; index < options.subscribers; index += me->step) count++;
  void **subscriptions = calloc((size_t)count, sizeof *subscriptions);
  for (int place = 0; place < count; place++) subscriptions[place] = peer->subscribe(&options, me->first + place * me->step);
  for (bool is_done = false; !is_done;) {
    is_done = true;
    for (int place = 0; place < count; place++) {
      atomic_long *taken = &me->taken[me->first + place * me->step];
      if (atomic_load(taken) >= events) continue;
      is_done = false;
      long seen = 0;
      if (peer->receive(subscriptions[place], take, &seen) == 0) continue;
      peer->acknowledge(subscriptions[place]);
      atomic_fetch_add(taken, seen);
    }
  }
  return NULL;
}

static uint64_t started;
static uint32_t *latencies;
static atomic_long latency_count;
static long latency_events;
enum { paced_publishers = 4, tick = 1000000 };

/// Sends what is due, a millisecond's events at a time; the publishers take the milliseconds by turns, so that one that waits for
/// its answer holds the others up no more than a real publisher would.
static void *paced_publisher(void *argument) {
  int index = *(int *)argument;
  void *connection = peer->open(&options);
  int most = (int)(rate / 1000) + 2;
  struct batch batch = new_batch(most);
  long ticks = (long)(seconds * 1000);
  for (long number = index; number < ticks; number += paced_publishers) {
    uint64_t due = started + (uint64_t)number * tick;
    long first = number * rate / 1000, last = (number + 1) * rate / 1000;
    int count = (int)(last - first);
    if (count == 0) continue;
    uint64_t now = nanoseconds();
    if (now < due) {
      struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    for (int event = 0; event < count; event++) write_due(batch.events[event], due);
    peer->publish(connection, batch.events, count);
  }
  return NULL;
}

static void take_latency(void *context, struct bytes data) {
  uint64_t now = *(uint64_t *)context;
  if (!now) *(uint64_t *)context = now = nanoseconds();
  uint64_t microseconds = (now - read_due(data)) / 1000;
  long place = atomic_fetch_add(&latency_count, 1);
  if (place < latency_events) latencies[place] = microseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)microseconds;
}

static void *latency_receiver(void *unused) {
  (void)unused;
  void *subscription = peer->subscribe(&options, 0);
  while (atomic_load(&latency_count) < latency_events && !atomic_load(&is_over)) {
    uint64_t now = 0;
    if (peer->receive(subscription, take_latency, &now)) peer->acknowledge(subscription);
  }
  return NULL;
}

static int ascending(const void *left, const void *right) {
  uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
  return (a > b) - (a < b);
}

static double percentile(double part) {
  long place = (long)ceil(part * (double)latency_events) - 1;
  return latencies[place < 0 ? 0 : place] / 1000.0;
}

static void start(pthread_t *thread, void *(*body)(void *), void *argument) {
  if (pthread_create(thread, NULL, body, argument)) fail("thread", "none can be started");
}

static void run_many(int count, void *(*body)(void *), void *argument) {
  pthread_t *threads = calloc((size_t)count, sizeof *threads);
  for (int index = 0; index < count; index++) start(&threads[index], body, argument);
  for (int index = 0; index < count; index++) pthread_join(threads[index], NULL);
  free(threads);
}

static void report(long count, uint64_t since) {
  double taken = (double)(nanoseconds() - since) / 1e9;
  struct timespec cpu;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
  printf("{\"events\":%ld,\"seconds\":%.6f,\"load_cpu\":%.6f}\n", count, taken, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
}

static void measure_latency(void) {
  latency_events = (long)(seconds * 1000) * rate / 1000;
  latencies = calloc((size_t)latency_events, sizeof *latencies);
  pthread_t receivers[2], publishers[paced_publishers];
  int numbers[paced_publishers];
  for (int index = 0; index < 2; index++) start(&receivers[index], latency_receiver, NULL);
  // Connections are made before the first event is due.
  started = nanoseconds() + 300000000u;
  for (int index = 0; index < paced_publishers; index++) {
    numbers[index] = index;
    start(&publishers[index], paced_publisher, &numbers[index]);
  }
  for (int index = 0; index < paced_publishers; index++) pthread_join(publishers[index], NULL);
  uint64_t limit = nanoseconds() + 20000000000u;
  while (atomic_load(&latency_count) < latency_events && nanoseconds() < limit) {
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, NULL);
  }
  atomic_store(&is_over, true);
  for (int index = 0; index < 2; index++) pthread_join(receivers[index], NULL);
  if (atomic_load(&latency_count) < latency_events) fail("latency", "events are missing 20 s after the last was sent");
  qsort(latencies, (size_t)latency_events, sizeof *latencies, ascending);
  printf("{\"events\":%ld,\"seconds\":%.3f,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}\n", latency_events, seconds,
         percentile(0.5), percentile(0.99), percentile(0.999), latencies[latency_events - 1] / 1000.0);
}

static void measure_idle(void) {
  struct batch batch = new_batch(options.batch);
  uint64_t since = nanoseconds();
  long passed = 0;
  for (long done = 0; done < events; done += options.batch) {
    for (int index = 0; index < options.batch; index++) passed += handle_event(batch.events[index]) != 0;
  }
  report(passed, since);
}

int main(int count, char **arguments) {
  if (count < 3 || count % 2 == 0) fail("usage", "load SYSTEM WORK [name value]...");
#ifdef FAIRLEAD_ALONE
  const struct peer *peers[] = {&fairlead_peer};
#else
  const struct peer *peers[] = {&fairlead_peer, &nats_peer, &redis_peer, &rabbitmq_peer};
#endif
  for (size_t index = 0; index < sizeof peers / sizeof *peers; index++) {
    if (strcmp(peers[index]->name, arguments[1]) == 0) peer = peers[index];
  }
  if (!peer) fail("no such system", arguments[1]);
  for (int index = 3; index < count; index += 2) {
    const char *name = arguments[index], *value = arguments[index + 1];
    if (!strcmp(name, "port")) options.port = atoi(value);
    else if (!strcmp(name, "topic")) options.topic = value;
    else if (!strcmp(name, "size")) options.size = atoi(value);
    else if (!strcmp(name, "batch")) options.batch = atoi(value);
    else if (!strcmp(name, "topics")) options.topics = atoi(value);
    else if (!strcmp(name, "subscribers")) options.subscribers = atoi(value);
    else if (!strcmp(name, "connections")) connections = atoi(value);
    else if (!strcmp(name, "events")) events = atol(value);
    else if (!strcmp(name, "rate")) rate = atol(value);
    else if (!strcmp(name, "seconds")) seconds = atof(value);
    else fail("no such option", name);
  }
  const char *work = arguments[2];
  uint64_t since = nanoseconds();
  if (!strcmp(work, "prepare")) {
    peer->prepare(&options);
  } else if (!strcmp(work, "publish")) {
    run_many(connections, publisher, NULL);
    report(events, since);
  } else if (!strcmp(work, "receive")) {
    struct receiver all = {0, &received, take};
    run_many(connections, receiver, &all);
    report(events, since);
  } else if (!strcmp(work, "pass")) {
    struct receiver all = {0, &received, take_and_handle};
    pthread_t receivers[2];
    for (int index = 0; index < 2; index++) start(&receivers[index], receiver, &all);
    run_many(connections, publisher, NULL);
    for (int index = 0; index < 2; index++) pthread_join(receivers[index], NULL);
    report(events, since);
  } else if (!strcmp(work, "script")) {
    if (!peer->script) fail(peer->name, "runs no scripts");
    run_many(connections, scripter, NULL);
    report(events, since);
  } else if (!strcmp(work, "fan")) {
    int threads = options.subscribers < connections ? options.subscribers : connections;
    atomic_long *taken = calloc((size_t)options.subscribers, sizeof *taken);
    struct share *shares = calloc((size_t)threads, sizeof *shares);
    pthread_t *receivers = calloc((size_t)threads, sizeof *receivers);
    for (int index = 0; index < threads; index++) {
      shares[index] = (struct share){index, threads, taken};
      start(&receivers[index], fan_receiver, &shares[index]);
    }
    run_many(2, publisher, NULL);
    for (int index = 0; index < threads; index++) pthread_join(receivers[index], NULL);
    report(events * options.subscribers, since);
  } else if (!strcmp(work, "latency")) {
    measure_latency();
  } else if (!strcmp(work, "idle")) {
    measure_idle();
  } else {
    fail("no such work", work);
  }
  return 0;
}
