// SPDX-License-Identifier: Apache-2.0

// Fairlead over HTTP on a plain socket: one NDJSON request for a batch, pull and settle. Topics and subscribers stand in
// routes.conf, so that there is nothing to prepare.

#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

struct connection {
  int socket;
  const char *topic;
  int topics, turn;
  char subscriber[64];
  int batch;
  /// The request under way.
  char *body;
  size_t body_count, body_room;
  /// The answer: `head` bytes of headers, `length` bytes of body.
  char *answer;
  size_t room, head, length;
};

static void put(struct connection *me, const char *text, size_t count) {
  if (me->body_count + count > me->body_room) me->body = realloc(me->body, me->body_room = (me->body_count + count) * 2);
  memcpy(me->body + me->body_count, text, count);
  me->body_count += count;
}

static int exchange(struct connection *me, const char *path, const char *type) {
  char head[512];
  int count = snprintf(head, sizeof head,
                       "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n", path, type,
                       me->body_count);
  struct iovec parts[2] = {{head, (size_t)count}, {me->body, me->body_count}};
  while (parts[0].iov_len + parts[1].iov_len > 0) {
    ssize_t sent = writev(me->socket, parts, 2);
    if (sent <= 0) fail("send", strerror(errno));
    for (int part = 0; part < 2; part++) {
      size_t step = (size_t)sent < parts[part].iov_len ? (size_t)sent : parts[part].iov_len;
      parts[part].iov_base = (char *)parts[part].iov_base + step;
      parts[part].iov_len -= step;
      sent -= (ssize_t)step;
    }
  }
  me->head = me->length = 0;
  size_t received = 0;
  while (me->head == 0 || received < me->head + me->length) {
    if (received + 1 >= me->room) me->answer = realloc(me->answer, me->room *= 2);
    ssize_t got = recv(me->socket, me->answer + received, me->room - received - 1, 0);
    if (got <= 0) fail("receive", "the server closed the connection");
    received += (size_t)got;
    if (me->head) continue;
    me->answer[received] = 0;
    char *end = strstr(me->answer, "\r\n\r\n");
    if (!end) continue;
    me->head = (size_t)(end + 4 - me->answer);
    char *length = strcasestr(me->answer, "\r\ncontent-length:");
    if (!length || length > end) fail("receive", "an answer without a length");
    me->length = strtoul(length + 17, NULL, 10);
  }
  return atoi(me->answer + 9);
}

static void prepare(const struct options *options) { (void)options; }

static void *open_connection(const struct options *options) {
  struct connection *me = calloc(1, sizeof *me);
  me->socket = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)options->port)};
  address.sin_addr.s_addr = inet_addr(options->host);
  if (connect(me->socket, (struct sockaddr *)&address, sizeof address)) fail("connect", strerror(errno));
  int one = 1;
  setsockopt(me->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  me->topic = options->topic;
  me->topics = options->topics;
  me->batch = options->batch;
  me->answer = malloc(me->room = 1 << 16);
  return me;
}

static void publish(void *connection, const struct bytes *events, int count) {
  struct connection *me = connection;
  me->body_count = 0;
  for (int index = 0; index < count; index++) {
    put(me, events[index].data, events[index].count);
    put(me, "\n", 1);
  }
  char path[128];
  if (me->topics) snprintf(path, sizeof path, "/v1/topics/%s%d/events", me->topic, me->turn++ % me->topics);
  else snprintf(path, sizeof path, "/v1/topics/%s/events", me->topic);
  // A server that is full says so, and the publisher comes again.
  int status;
  while ((status = exchange(me, path, "application/x-ndjson")) == 429) usleep(1000);
  if (status != 202) fail("publish", me->answer);
}

static void *subscribe(const struct options *options, int index) {
  struct connection *me = open_connection(options);
  snprintf(me->subscriber, sizeof me->subscriber, "%s_s%d", options->topic, index);
  return me;
}

static char *find(char *from, char *end, const char *text) {
  return memmem(from, (size_t)(end - from), text, strlen(text));
}

static int receive(void *subscription, on_event show, void *context) {
  struct connection *me = subscription;
  char path[128], wish[64];
  snprintf(path, sizeof path, "/v1/subscribers/%s/pull", me->subscriber);
  snprintf(wish, sizeof wish, "{\"max\":%d,\"wait\":\"100ms\"}", me->batch);
  me->body_count = 0;
  put(me, wish, strlen(wish));
  if (exchange(me, path, "application/json") != 200) fail("pull", me->answer);
  // The next request is written while this answer is read: its leases.
  me->body_count = 0;
  put(me, "{\"ack\":[", 8);
  static const char lease_name[] = "{\"lease\":\"", data_name[] = "\"data\":";
  char *end = me->answer + me->head + me->length;
  char *at = find(me->answer + me->head, end, lease_name);
  int count = 0;
  for (; at; count++) {
    char *lease = at + sizeof lease_name - 1;
    char *close = memchr(lease, '"', (size_t)(end - lease));
    if (count) put(me, ",", 1);
    put(me, lease - 1, (size_t)(close - lease + 2));
    char *data = find(close, end, data_name);
    if (!data) fail("pull", "an event without data");
    data += sizeof data_name - 1;
    at = find(data, end, lease_name);
    // `}},` stand between the data and the next delivery, `}}]}` after the last.
    show(context, (struct bytes){data, (size_t)((at ? at - 3 : end - 4) - data)});
  }
  put(me, "]}", 2);
  return count;
}

static void acknowledge(void *subscription) {
  struct connection *me = subscription;
  char path[128];
  snprintf(path, sizeof path, "/v1/subscribers/%s/settle", me->subscriber);
  if (exchange(me, path, "application/json") != 200) fail("settle", me->answer);
}

const struct peer fairlead_peer = {
    .name = "fairlead",
    .prepare = prepare,
    .open = open_connection,
    .publish = publish,
    .subscribe = subscribe,
    .receive = receive,
    .acknowledge = acknowledge,
};
