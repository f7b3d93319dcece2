// SPDX-License-Identifier: Apache-2.0

// JetStream: a stream in a file store per topic, asynchronous publishes with a window of one batch per connection, durable pull
// consumers. An acknowledgement of JetStream has no answer unless asked for one by one; a flush makes sure the server has it.

#include "peer.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(natsStatus status, const char *what) {
  if (status != NATS_OK) fail(what, natsStatus_GetText(status));
}

struct connection {
  natsConnection *link;
  jsCtx *stream;
  natsSubscription *subscription;
  natsMsgList messages;
  const char *topic;
  int batch;
};

static struct connection *connect_to(const struct options *options) {
  struct connection *me = calloc(1, sizeof *me);
  char url[64];
  snprintf(url, sizeof url, "nats://%s:%d", options->host, options->port);
  natsOptions *settings;
  check(natsOptions_Create(&settings), "options");
  check(natsOptions_SetURL(settings, url), "url");
  check(natsConnection_Connect(&me->link, settings), "connect");
  natsOptions_Destroy(settings);
  jsOptions js;
  jsOptions_Init(&js);
  js.PublishAsync.MaxPending = options->batch;
  js.PublishAsync.StallWait = 10000;
  check(natsConnection_JetStream(&me->stream, me->link, &js), "jetstream");
  me->topic = options->topic;
  me->batch = options->batch;
  return me;
}

static void prepare(const struct options *options) {
  struct connection *me = connect_to(options);
  jsErrCode code = 0;
  js_DeleteStream(me->stream, options->topic, NULL, &code);
  jsStreamConfig stream;
  jsStreamConfig_Init(&stream);
  const char *subjects[] = {options->topic};
  stream.Name = options->topic;
  stream.Subjects = subjects;
  stream.SubjectsLen = 1;
  stream.Storage = js_FileStorage;
  check(js_AddStream(NULL, me->stream, &stream, NULL, &code), "add stream");
  for (int index = 0; index < options->subscribers; index++) {
    char name[16];
    snprintf(name, sizeof name, "s%d", index);
    jsConsumerConfig consumer;
    jsConsumerConfig_Init(&consumer);
    consumer.Durable = name;
    consumer.AckPolicy = js_AckExplicit;
    consumer.DeliverPolicy = js_DeliverAll;
    consumer.MaxAckPending = 100000;
    check(js_AddConsumer(NULL, me->stream, options->topic, &consumer, NULL, &code), "add consumer");
  }
}

static void *open_connection(const struct options *options) { return connect_to(options); }

static void publish(void *connection, const struct bytes *events, int count) {
  struct connection *me = connection;
  if (count == 1) {
    check(js_Publish(NULL, me->stream, me->topic, events[0].data, (int)events[0].count, NULL, NULL), "publish");
    return;
  }
  for (int index = 0; index < count; index++) {
    check(js_PublishAsync(me->stream, me->topic, events[index].data, (int)events[index].count, NULL), "publish");
  }
  jsPubOptions wait;
  jsPubOptions_Init(&wait);
  wait.MaxWait = 30000;
  check(js_PublishAsyncComplete(me->stream, &wait), "confirm");
}

static void *subscribe(const struct options *options, int index) {
  struct connection *me = connect_to(options);
  char name[16];
  snprintf(name, sizeof name, "s%d", index);
  jsSubOptions settings;
  jsSubOptions_Init(&settings);
  settings.Stream = options->topic;
  settings.Consumer = name;
  check(js_PullSubscribe(&me->subscription, me->stream, options->topic, name, NULL, &settings, NULL), "subscribe");
  return me;
}

static int receive(void *subscription, on_event show, void *context) {
  struct connection *me = subscription;
  natsStatus status = natsSubscription_Fetch(&me->messages, me->subscription, me->batch, 100, NULL);
  if (status == NATS_TIMEOUT) return me->messages.Count = 0;
  check(status, "fetch");
  for (int index = 0; index < me->messages.Count; index++) {
    natsMsg *message = me->messages.Msgs[index];
    show(context, (struct bytes){natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message)});
  }
  return me->messages.Count;
}

static void acknowledge(void *subscription) {
  struct connection *me = subscription;
  for (int index = 0; index < me->messages.Count; index++) check(natsMsg_Ack(me->messages.Msgs[index], NULL), "ack");
  natsMsgList_Destroy(&me->messages);
  check(natsConnection_FlushTimeout(me->link, 10000), "flush");
}

const struct peer nats_peer = {
    .name = "nats",
    .prepare = prepare,
    .open = open_connection,
    .publish = publish,
    .subscribe = subscribe,
    .receive = receive,
    .acknowledge = acknowledge,
};
