// SPDX-License-Identifier: Apache-2.0

// Redis Streams: pipelined XADD, a consumer group per subscriber, XREADGROUP and one XACK a batch. The script is the same
// handler in Redis' own Lua: it reads, decodes, handles and acknowledges a batch inside the server.

#include "peer.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct connection {
  redisContext *link;
  redisReply *messages;
  const char *topic;
  char group[16];
  char consumer[48];
  char script[41];
  int batch;
};

static redisReply *answer(struct connection *me, const char *what) {
  void *reply = NULL;
  if (redisGetReply(me->link, &reply) != REDIS_OK) fail(what, me->link->errstr);
  if (((redisReply *)reply)->type == REDIS_REPLY_ERROR) fail(what, ((redisReply *)reply)->str);
  return reply;
}

static struct connection *connect_to(const struct options *options) {
  static _Atomic int number;
  struct connection *me = calloc(1, sizeof *me);
  me->link = redisConnect(options->host, options->port);
  if (!me->link || me->link->err) fail("connect", me->link ? me->link->errstr : NULL);
  me->topic = options->topic;
  me->batch = options->batch;
  snprintf(me->consumer, sizeof me->consumer, "c%d-%d", (int)getpid(), number++);
  return me;
}

static void prepare(const struct options *options) {
  struct connection *me = connect_to(options);
  redisAppendCommand(me->link, "DEL %s", options->topic);
  freeReplyObject(answer(me, "delete"));
  for (int index = 0; index < options->subscribers; index++) {
    redisAppendCommand(me->link, "XGROUP CREATE %s s%d 0 MKSTREAM", options->topic, index);
    freeReplyObject(answer(me, "group"));
  }
}

static void *open_connection(const struct options *options) { return connect_to(options); }

static void publish(void *connection, const struct bytes *events, int count) {
  struct connection *me = connection;
  const char *words[] = {"XADD", me->topic, "*", "d", NULL};
  size_t lengths[] = {4, strlen(me->topic), 1, 1, 0};
  for (int index = 0; index < count; index++) {
    words[4] = events[index].data;
    lengths[4] = events[index].count;
    redisAppendCommandArgv(me->link, 5, words, lengths);
  }
  for (int index = 0; index < count; index++) freeReplyObject(answer(me, "publish"));
}

static const char script[] =
    "local got = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')\n"
    "if not got then return 0 end\n"
    "local ids, kept = {}, 0\n"
    "for i, message in ipairs(got[1][2]) do\n"
    "  local data = cjson.decode(message[2][2])\n"
    "  if data.total > 100 and data.currency == 'EUR' then\n"
    "    local line = data.order_id .. data.currency\n"
    "    if #line > 0 then kept = kept + 1 end\n"
    "  end\n"
    "  ids[i] = message[1]\n"
    "end\n"
    "redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))\n"
    "return #ids\n";

static void *subscribe(const struct options *options, int index) {
  struct connection *me = connect_to(options);
  snprintf(me->group, sizeof me->group, "s%d", index);
  redisAppendCommand(me->link, "SCRIPT LOAD %s", script);
  redisReply *reply = answer(me, "script");
  snprintf(me->script, sizeof me->script, "%s", reply->str);
  freeReplyObject(reply);
  return me;
}

static int receive(void *subscription, on_event show, void *context) {
  struct connection *me = subscription;
  redisAppendCommand(me->link, "XREADGROUP GROUP %s %s COUNT %d BLOCK 100 STREAMS %s >", me->group, me->consumer, me->batch,
                     me->topic);
  redisReply *reply = answer(me, "receive");
  if (reply->type == REDIS_REPLY_NIL) {
    freeReplyObject(reply);
    return 0;
  }
  me->messages = reply;
  redisReply *list = reply->element[0]->element[1];
  for (size_t index = 0; index < list->elements; index++) {
    redisReply *data = list->element[index]->element[1]->element[1];
    show(context, (struct bytes){data->str, data->len});
  }
  return (int)list->elements;
}

static void acknowledge(void *subscription) {
  struct connection *me = subscription;
  redisReply *list = me->messages->element[0]->element[1];
  size_t count = list->elements + 3;
  const char **words = calloc(count, sizeof *words);
  size_t *lengths = calloc(count, sizeof *lengths);
  const char *head[] = {"XACK", me->topic, me->group};
  for (size_t index = 0; index < count; index++) {
    words[index] = index < 3 ? head[index] : list->element[index - 3]->element[0]->str;
    lengths[index] = strlen(words[index]);
  }
  redisAppendCommandArgv(me->link, (int)count, words, lengths);
  freeReplyObject(answer(me, "acknowledge"));
  freeReplyObject(me->messages);
  me->messages = NULL;
  free(words);
  free(lengths);
}

static int run_script(void *subscription) {
  struct connection *me = subscription;
  redisAppendCommand(me->link, "EVALSHA %s 1 %s %s %s %d", me->script, me->topic, me->group, me->consumer, me->batch);
  redisReply *reply = answer(me, "script");
  int count = (int)reply->integer;
  freeReplyObject(reply);
  return count;
}

const struct peer redis_peer = {
    .name = "redis",
    .prepare = prepare,
    .open = open_connection,
    .publish = publish,
    .subscribe = subscribe,
    .receive = receive,
    .acknowledge = acknowledge,
    .script = run_script,
};
