// SPDX-License-Identifier: Apache-2.0

// RabbitMQ: a fanout exchange per topic, a quorum queue per subscriber, publisher confirms with a window of one batch per
// connection, consumers with a prefetch of two batches that acknowledge a batch at once. An acknowledgement has no answer.

#include "peer.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

struct connection {
  amqp_connection_state_t link;
  const char *topic;
  char queue[64];
  int batch;
  /// Of the next publish, and of the last delivery.
  uint64_t next, last;
  /// Of the batch under way.
  bool *is_confirmed;
};

static void check(amqp_rpc_reply_t reply, const char *what) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
  if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION) fail(what, amqp_error_string2(reply.library_error));
  fail(what, "refused by the server");
}

static struct connection *connect_to(const struct options *options) {
  struct connection *me = calloc(1, sizeof *me);
  me->link = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(me->link);
  if (amqp_socket_open(socket, options->host, options->port)) fail("connect", "nobody listens");
  check(amqp_login(me->link, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"), "login");
  amqp_channel_open(me->link, 1);
  check(amqp_get_rpc_reply(me->link), "channel");
  me->topic = options->topic;
  me->batch = options->batch;
  me->next = 1;
  me->is_confirmed = calloc((size_t)options->batch + 100, 1);
  return me;
}

static void prepare(const struct options *options) {
  struct connection *me = connect_to(options);
  amqp_exchange_declare(me->link, 1, amqp_cstring_bytes(options->topic), amqp_cstring_bytes("fanout"), 0, 1, 0, 0,
                        amqp_empty_table);
  check(amqp_get_rpc_reply(me->link), "exchange");
  for (int index = 0; index < options->subscribers; index++) {
    snprintf(me->queue, sizeof me->queue, "%s.s%d", options->topic, index);
    amqp_queue_delete(me->link, 1, amqp_cstring_bytes(me->queue), 0, 0);
    check(amqp_get_rpc_reply(me->link), "delete");
    amqp_table_entry_t kind = {.key = amqp_cstring_bytes("x-queue-type"),
                               .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {.bytes = amqp_cstring_bytes("quorum")}}};
    amqp_queue_declare(me->link, 1, amqp_cstring_bytes(me->queue), 0, 1, 0, 0, (amqp_table_t){1, &kind});
    check(amqp_get_rpc_reply(me->link), "queue");
    amqp_queue_bind(me->link, 1, amqp_cstring_bytes(me->queue), amqp_cstring_bytes(options->topic), amqp_empty_bytes,
                    amqp_empty_table);
    check(amqp_get_rpc_reply(me->link), "bind");
  }
}

static void *open_connection(const struct options *options) {
  struct connection *me = connect_to(options);
  amqp_confirm_select(me->link, 1);
  check(amqp_get_rpc_reply(me->link), "confirms");
  return me;
}

static void publish(void *connection, const struct bytes *events, int count) {
  struct connection *me = connection;
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = AMQP_DELIVERY_PERSISTENT};
  for (int index = 0; index < count; index++) {
    amqp_bytes_t body = {events[index].count, (void *)events[index].data};
    int status = amqp_basic_publish(me->link, 1, amqp_cstring_bytes(me->topic), amqp_empty_bytes, 0, 0, &properties, body);
    if (status != AMQP_STATUS_OK) fail("publish", amqp_error_string2(status));
  }
  // The server confirms single events in any order, and ranges.
  memset(me->is_confirmed, 0, (size_t)count);
  for (int confirmed = 0; confirmed < count;) {
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame(me->link, &frame);
    if (status != AMQP_STATUS_OK) fail("confirm", amqp_error_string2(status));
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD) fail("confirm", "refused");
    amqp_basic_ack_t *ack = frame.payload.method.decoded;
    int last = (int)(ack->delivery_tag - me->next);
    for (int index = ack->multiple ? 0 : last; index <= last && index < count; index++) {
      confirmed += !me->is_confirmed[index];
      me->is_confirmed[index] = true;
    }
    amqp_maybe_release_buffers(me->link);
  }
  me->next += (uint64_t)count;
}

static void *subscribe(const struct options *options, int index) {
  struct connection *me = connect_to(options);
  snprintf(me->queue, sizeof me->queue, "%s.s%d", options->topic, index);
  amqp_basic_qos(me->link, 1, 0, (uint16_t)(options->batch * 2 > 2000 ? 2000 : options->batch * 2), 0);
  check(amqp_get_rpc_reply(me->link), "prefetch");
  amqp_basic_consume(me->link, 1, amqp_cstring_bytes(me->queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  check(amqp_get_rpc_reply(me->link), "consume");
  return me;
}

static int receive(void *subscription, on_event show, void *context) {
  struct connection *me = subscription;
  int count = 0;
  while (count < me->batch) {
    amqp_maybe_release_buffers(me->link);
    // What has come already makes a batch; nobody waits to fill it.
    struct timeval wait = {0, count ? 0 : 100000};
    amqp_envelope_t envelope;
    amqp_rpc_reply_t reply = amqp_consume_message(me->link, &envelope, &wait, 0);
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) break;
    check(reply, "receive");
    show(context, (struct bytes){envelope.message.body.bytes, envelope.message.body.len});
    me->last = envelope.delivery_tag;
    amqp_destroy_envelope(&envelope);
    count++;
  }
  return count;
}

static void acknowledge(void *subscription) {
  struct connection *me = subscription;
  int status = amqp_basic_ack(me->link, 1, me->last, 1);
  if (status != AMQP_STATUS_OK) fail("acknowledge", amqp_error_string2(status));
}

const struct peer rabbitmq_peer = {
    .name = "rabbitmq",
    .prepare = prepare,
    .open = open_connection,
    .publish = publish,
    .subscribe = subscribe,
    .receive = receive,
    .acknowledge = acknowledge,
};
