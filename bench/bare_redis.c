// SPDX-License-Identifier: Apache-2.0
//
// bare-redis: see bare.h. PLACE is HOST:PORT. Of each MODE the fastest program on hiredis:
//
// streams: entries of the stream "events" are read by a consumer group, READ_COUNT at a time, and
//     acknowledged. The acknowledgement of a batch and the question for the next one go together,
//     as soon as the batch is there: the server works on them while the batch is looked at here.
// log: the stream "weir:log" is read, each time from the last entry on, in the same way; who reads
//     knows how far it is, so nothing is acknowledged.
// keys: the server tells which keys were changed (CLIENT TRACKING ... BCAST), and their values are
//     read; all of one database.
#include "bare.h"
#include "support.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    READ_COUNT = 512, // entries, or keys, at a time
    UNANSWERED_MAX = 8192,
    HOST_BYTES = 256,
    ID_BYTES = 64,
};

enum mode { STREAMS, LOG, KEYS };

static enum mode mode_of(const struct bare_place *place) {
    static const char *const names[] = {"streams", "log", "keys"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(place->mode, names[i]) == 0) {
            return (enum mode)i;
        }
    }
    give_up(place->mode, "there is no such mode");
}

static redisContext *connect_to(const struct bare_place *place) {
    char host[HOST_BYTES];
    const char *colon = strrchr(place->address, ':');
    size_t size = colon ? (size_t)(colon - place->address) : sizeof host;
    if (size >= sizeof host) {
        give_up(place->address, "not HOST:PORT");
    }
    memcpy(host, place->address, size);
    host[size] = '\0';
    redisContext *redis = redisConnect(host, (int)parse_argument(colon + 1, 1, UINT16_MAX));
    if (!redis || redis->err) {
        give_up(place->address, redis ? redis->errstr : "no memory");
    }
    return redis;
}

// The next reply, which the caller frees.
static redisReply *reply_of(redisContext *redis) {
    void *reply;
    if (redisGetReply(redis, &reply) != REDIS_OK) {
        give_up("redis", redis->errstr);
    }
    if (((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
        give_up("redis", ((redisReply *)reply)->str);
    }
    return reply;
}

static void drop_reply(redisContext *redis) {
    freeReplyObject(reply_of(redis));
}

// ---- sending ----

struct sender {
    redisContext *redis;
    enum mode mode;
    size_t unanswered;
};

static void *open_sender(const struct bare_place *place) {
    struct sender *sender = allocate_or_give_up(sizeof *sender);
    *sender = (struct sender){.redis = connect_to(place), .mode = mode_of(place)};
    return sender;
}

static void send_one(void *context, uint64_t sequence, struct weir_str value) {
    struct sender *sender = context;
    int code = REDIS_ERR;
    switch (sender->mode) {
    case STREAMS:
        code = redisAppendCommand(sender->redis, "XADD events * data %b", value.data, value.size);
        break;
    case LOG:
        code =
            redisAppendCommand(sender->redis, "XADD weir:log * op set key key-%" PRIu64 " value %b",
                               sequence, value.data, value.size);
        break;
    case KEYS:
        code = redisAppendCommand(sender->redis, "SET key-%" PRIu64 " %b", sequence, value.data,
                                  value.size);
        break;
    }
    if (code != REDIS_OK) {
        give_up("a command", sender->redis->errstr);
    }
    sender->unanswered++;
}

static bool has_input(int fd) {
    struct pollfd input = {.fd = fd, .events = POLLIN};
    return poll(&input, 1, 0) > 0;
}

static void flush(void *context, bool is_last) {
    struct sender *sender = context;
    redisContext *redis = sender->redis;
    int is_written = 0;
    while (!is_written) {
        if (redisBufferWrite(redis, &is_written) != REDIS_OK) {
            give_up("sending", redis->errstr);
        }
    }
    size_t most = is_last ? 0 : UNANSWERED_MAX;
    while (sender->unanswered > most || (sender->unanswered > 0 && has_input(redis->fd))) {
        drop_reply(redis);
        sender->unanswered--;
        void *more = NULL; // that came with it
        while (redisGetReplyFromReader(redis, &more) == REDIS_OK && more) {
            freeReplyObject(more);
            sender->unanswered--;
        }
    }
}

// ---- reading ----

struct reader {
    redisContext *redis;
    redisContext *told; // of the mode keys: where changed keys are told
    enum mode mode;
    bool has_asked;      // for entries
    bool is_settling;    // acknowledgements were sent before that
    char last[ID_BYTES]; // of the mode log: the id of the last entry
};

static void ask_for_entries(struct reader *reader) {
    if (reader->mode == LOG) {
        redisAppendCommand(reader->redis, "XREAD COUNT %d BLOCK 0 STREAMS weir:log %s", READ_COUNT,
                           reader->last);
    } else {
        redisAppendCommand(reader->redis,
                           "XREADGROUP GROUP bench bench COUNT %d BLOCK 0 STREAMS events >",
                           READ_COUNT);
    }
    int is_written = 0;
    redisBufferWrite(reader->redis, &is_written); // what fails is seen when the reply is read
    reader->has_asked = true;
}

static void begin_tracking(struct reader *reader, const struct bare_place *place) {
    reader->told = connect_to(place);
    redisReply *id = redisCommand(reader->told, "CLIENT ID");
    if (!id || id->type != REDIS_REPLY_INTEGER) {
        give_up("redis", "it has no id of a client");
    }
    redisAppendCommand(reader->told, "SUBSCRIBE __redis__:invalidate");
    drop_reply(reader->told);
    redisAppendCommand(reader->redis, "CLIENT TRACKING ON REDIRECT %lld BCAST", id->integer);
    drop_reply(reader->redis);
    freeReplyObject(id);
}

static void *open_reader(const struct bare_place *place) {
    struct reader *reader = allocate_or_give_up(sizeof *reader);
    *reader = (struct reader){.redis = connect_to(place), .mode = mode_of(place), .last = "0"};
    if (reader->mode == STREAMS) {
        redisAppendCommand(reader->redis, "XGROUP CREATE events bench $ MKSTREAM");
        drop_reply(reader->redis);
    } else if (reader->mode == KEYS) {
        begin_tracking(reader, place);
    }
    return reader;
}

// "XACK events bench ID...", of the entries.
static void acknowledge(struct reader *reader, const redisReply *entries) {
    static const char *words[3 + READ_COUNT] = {"XACK", "events", "bench"};
    static size_t sizes[3 + READ_COUNT] = {4, 6, 5};
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *id = entries->element[i]->element[0];
        words[3 + i] = id->str;
        sizes[3 + i] = id->len;
    }
    redisAppendCommandArgv(reader->redis, (int)(3 + entries->elements), words, sizes);
    reader->is_settling = true;
}

static void take_entries(const redisReply *entries, struct tally *tally) {
    for (size_t i = 0; i < entries->elements; i++) {
        const redisReply *fields = entries->element[i]->element[1];
        const redisReply *value = fields->element[fields->elements - 1];
        tally_take(tally, value->str, value->len);
    }
}

static void settle(struct reader *reader) {
    if (reader->is_settling) {
        drop_reply(reader->redis);
        reader->is_settling = false;
    }
}

static void read_entries(struct reader *reader, struct tally *tally) {
    if (!reader->has_asked) {
        ask_for_entries(reader);
    }
    settle(reader);
    redisReply *reply = reply_of(reader->redis);
    const redisReply *entries = reply->element[0]->element[1];
    if (reader->mode == LOG) {
        const redisReply *id = entries->element[entries->elements - 1]->element[0];
        snprintf(reader->last, sizeof reader->last, "%s", id->str);
    } else {
        acknowledge(reader, entries);
    }
    if (tally->taken + entries->elements < tally->expected) {
        ask_for_entries(reader);
    }
    take_entries(entries, tally);
    freeReplyObject(reply);
}

static void read_keys(struct reader *reader, struct tally *tally) {
    static const char *words[1 + READ_COUNT] = {"MGET"};
    static size_t sizes[1 + READ_COUNT] = {4};
    // "message", the channel, the keys.
    redisReply *told = reply_of(reader->told);
    const redisReply *keys = told->element[2];
    for (size_t begin = 0; begin < keys->elements; begin += READ_COUNT) {
        size_t rest = keys->elements - begin, count = rest < READ_COUNT ? rest : READ_COUNT;
        for (size_t i = 0; i < count; i++) {
            words[1 + i] = keys->element[begin + i]->str;
            sizes[1 + i] = keys->element[begin + i]->len;
        }
        redisAppendCommandArgv(reader->redis, (int)(1 + count), words, sizes);
        redisReply *values = reply_of(reader->redis);
        for (size_t i = 0; i < values->elements; i++) {
            tally_take(tally, values->element[i]->str, values->element[i]->len);
        }
        freeReplyObject(values);
    }
    freeReplyObject(told);
}

static void read_some(void *context, struct tally *tally) {
    struct reader *reader = context;
    if (reader->mode == KEYS) {
        read_keys(reader, tally);
    } else {
        read_entries(reader, tally);
    }
}

static void finish(void *context) {
    settle(context);
}

int main(int argument_count, char **arguments) {
    static const struct bare_source source = {
        .at_once = 256,
        .open_sender = open_sender,
        .send = send_one,
        .flush = flush,
        .open_reader = open_reader,
        .read = read_some,
        .finish = finish,
    };
    return bare_main(&source, argument_count, arguments);
}
