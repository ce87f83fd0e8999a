// SPDX-License-Identifier: Apache-2.0
//
// See reply.h. The protocol is hiredis's business, its reader alone: it is given functions of ours,
// which put a reply into few blocks of memory that are freed together, and refuse what is beyond
// bounds. Three things about the reader of hiredis 0.14 are minded here:
//
// - It believes what the peer says of lengths and waits for that much, so what is waiting is
//   counted, and so are items before room is made for them.
// - For a line that does not end it looks at all that has come with each further piece.
// - When it gives back a large buffer it asserts that there is memory for a small one; so it is
// told
//   never to do that, and the whole reader is replaced instead.
#include "provider/redis/reply.h"

#include "base/show.h"

#include <hiredis/read.h>
#include <hiredis/sds.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK_BYTES = 4096,          // of a reply's memory
    FIRST_BLOCK_BYTES = 512,     // of a size that malloc has at hand; most replies fit
    BUFFER_BYTES_KEPT = 1 << 20, // a larger one is given back when it is empty
    FRAME_BYTES = 1 << 16,       // what a reply's bound leaves for its lines and lengths
};

// Memory of a reply.
struct block {
    struct block *next;
    size_t used, size;
    _Alignas(max_align_t) char bytes[];
};

// A reply that is read, and all that belongs to it.
struct root {
    struct weir_redis_reply reply;
    struct block *blocks;
};

struct weir_redis_reader {
    redisReader *redis;
    uint64_t reply_bytes_max;
    struct root *root; // of the reply that is being read; NULL before its first byte
    size_t items;      // of it
    bool is_over;      // it has more of them than it may
};

// ---- memory of a reply ----

static void root_free(struct root *root) {
    if (!root) {
        return;
    }
    while (root->blocks) {
        struct block *next = root->blocks->next;
        free(root->blocks);
        root->blocks = next;
    }
    free(root);
}

void weir_redis_reply_free(struct weir_redis_reply *reply) {
    root_free((struct root *)reply);
}

static void *take_memory(struct root *root, size_t size) {
    size = (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
    struct block *block = root->blocks;
    if (!block || block->size - block->used < size) {
        size_t room = block ? BLOCK_BYTES : FIRST_BLOCK_BYTES;
        room = size > room ? size : room;
        block = malloc(sizeof *block + room);
        if (!block) {
            return NULL;
        }
        *block = (struct block){.next = root->blocks, .size = room};
        root->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

// ---- what hiredis calls ----

// Where the item goes that is being read. NULL without memory.
static struct weir_redis_reply *place_of(const redisReadTask *task) {
    struct weir_redis_reader *reader = task->privdata;
    if (task->parent) {
        struct weir_redis_reply *array = task->parent->obj;
        return &array->items[task->idx];
    }
    reader->root = calloc(1, sizeof *reader->root);
    reader->items = 0;
    return reader->root ? &reader->root->reply : NULL;
}

static enum weir_redis_kind kind_of(int type) {
    switch (type) {
    case REDIS_REPLY_STATUS:
        return WEIR_REDIS_STATUS;
    case REDIS_REPLY_ERROR:
        return WEIR_REDIS_ERROR;
    default:
        return WEIR_REDIS_BULK;
    }
}

static void *create_string(const redisReadTask *task, char *text, size_t size) {
    struct weir_redis_reader *reader = task->privdata;
    struct weir_redis_reply *reply = place_of(task);
    char *copy = reply && size < reader->reply_bytes_max + FRAME_BYTES
                     ? take_memory(reader->root, size + 1)
                     : NULL;
    if (!copy) {
        return NULL;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    reply->kind = kind_of(task->type);
    reply->bytes = (struct weir_str){copy, size};
    return reply;
}

static void *create_array(const redisReadTask *task, int count) {
    struct weir_redis_reader *reader = task->privdata;
    struct weir_redis_reply *reply = place_of(task);
    if (!reply) {
        return NULL;
    }
    reader->is_over = (size_t)count > WEIR_REDIS_ITEMS_MAX - reader->items;
    size_t bytes = (size_t)count * sizeof *reply;
    struct weir_redis_reply *items = reader->is_over ? NULL : take_memory(reader->root, bytes);
    if (!items) {
        return NULL;
    }
    reader->items += (size_t)count;
    memset(items, 0, bytes); // each is nil until it is read
    reply->kind = WEIR_REDIS_ARRAY;
    reply->items = items;
    reply->count = (size_t)count;
    return reply;
}

static void *create_integer(const redisReadTask *task, long long value) {
    struct weir_redis_reply *reply = place_of(task);
    if (reply) {
        reply->kind = WEIR_REDIS_INTEGER;
        reply->integer = value;
    }
    return reply;
}

static void *create_nil(const redisReadTask *task) {
    return place_of(task);
}

static void free_object(void *reply) {
    (void)reply; // it is freed with its reader, or whoever was given it
}

static const redisReplyObjectFunctions functions = {
    .createString = create_string,
    .createArray = create_array,
    .createInteger = create_integer,
    .createNil = create_nil,
    .freeObject = free_object,
};

// ---- the reader ----

static redisReader *redis_reader_new(struct weir_redis_reader *reader) {
    // hiredis calls the functions and does not change them.
    redisReader *redis =
        redisReaderCreateWithFunctions((redisReplyObjectFunctions *)(uintptr_t)&functions);
    if (redis) {
        redis->privdata = reader;
        redis->maxbuf = 0;
    }
    return redis;
}

struct weir_redis_reader *weir_redis_reader_create(void) {
    struct weir_redis_reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return NULL;
    }
    reader->reply_bytes_max = WEIR_REDIS_REPLY_BYTES_MAX;
    reader->redis = redis_reader_new(reader);
    if (!reader->redis) {
        free(reader);
        return NULL;
    }
    return reader;
}

void weir_redis_reader_destroy(struct weir_redis_reader *reader) {
    if (reader) {
        redisReaderFree(reader->redis);
        root_free(reader->root);
        free(reader);
    }
}

void weir_redis_reader_bound(struct weir_redis_reader *reader, uint64_t reply_bytes_max) {
    reader->reply_bytes_max = reply_bytes_max;
}

static weir_status fail_length(const struct weir_redis_reader *reader, struct weir_error *err) {
    return weir_fail(err, WEIR_LIMIT, "the server's reply is larger than %llu bytes or %d items",
                     (unsigned long long)reader->reply_bytes_max, WEIR_REDIS_ITEMS_MAX);
}

// Whether what waits begins with a line that does not end.
static bool has_endless_line(const redisReader *redis) {
    return redis->len - redis->pos > WEIR_REDIS_LINE_BYTES_MAX &&
           !memchr(redis->buf + redis->pos, '\n', WEIR_REDIS_LINE_BYTES_MAX);
}

// Gives back a large buffer that is empty.
static void shrink(struct weir_redis_reader *reader) {
    if (reader->redis->len > 0 || reader->redis->ridx >= 0 ||
        sdsalloc(reader->redis->buf) <= BUFFER_BYTES_KEPT) {
        return;
    }
    redisReader *fresh = redis_reader_new(reader);
    if (fresh) {
        redisReaderFree(reader->redis);
        reader->redis = fresh;
    }
}

weir_status weir_redis_reader_feed(struct weir_redis_reader *reader, struct weir_str bytes,
                                   struct weir_error *err) {
    redisReader *redis = reader->redis;
    if (redis->len - redis->pos + bytes.size > reader->reply_bytes_max + FRAME_BYTES) {
        return fail_length(reader, err);
    }
    return redisReaderFeed(redis, bytes.data, bytes.size) == REDIS_OK
               ? WEIR_OK
               : weir_fail_no_memory(err, "a reply");
}

static weir_status fail_reading(const struct weir_redis_reader *reader, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    if (reader->is_over) {
        return fail_length(reader, err);
    }
    if (reader->redis->err == REDIS_ERR_OOM) {
        return weir_fail_no_memory(err, "a reply");
    }
    return weir_fail(err, WEIR_INVALID,
                     "what answers does not speak Redis's protocol (%s); look at the address, and "
                     "whether the server wants TLS",
                     weir_show(weir_str_of(reader->redis->errstr), shown, sizeof shown));
}

weir_status weir_redis_reader_next(struct weir_redis_reader *reader,
                                   struct weir_redis_reply **ret_reply, struct weir_error *err) {
    void *reply;
    *ret_reply = NULL;
    if (redisReaderGetReply(reader->redis, &reply) != REDIS_OK) {
        return fail_reading(reader, err);
    }
    if (reply) {
        *ret_reply = reply;
        reader->root = NULL;
        shrink(reader);
        return WEIR_OK;
    }
    if (has_endless_line(reader->redis)) {
        return weir_fail(err, WEIR_INVALID,
                         "what answers does not speak Redis's protocol (a line of more than %d "
                         "bytes); look at the address",
                         WEIR_REDIS_LINE_BYTES_MAX);
    }
    return WEIR_AGAIN;
}

// ---- looking at replies ----

bool weir_redis_reply_is(const struct weir_redis_reply *reply, enum weir_redis_kind kind) {
    return reply && reply->kind == kind;
}

static bool says(const struct weir_redis_reply *reply, struct weir_str text) {
    return (reply->kind == WEIR_REDIS_STATUS || reply->kind == WEIR_REDIS_BULK) &&
           weir_str_equal(reply->bytes, text);
}

bool weir_redis_reply_says(const struct weir_redis_reply *reply, const char *text) {
    return reply && says(reply, weir_str_of(text));
}

const struct weir_redis_reply *weir_redis_reply_at(const struct weir_redis_reply *reply,
                                                   size_t index) {
    return weir_redis_reply_is(reply, WEIR_REDIS_ARRAY) && index < reply->count
               ? &reply->items[index]
               : NULL;
}

const struct weir_redis_reply *weir_redis_reply_named(const struct weir_redis_reply *reply,
                                                      const char *name) {
    struct weir_str wanted = weir_str_of(name);
    size_t count = weir_redis_reply_is(reply, WEIR_REDIS_ARRAY) ? reply->count : 0;
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (says(&reply->items[i], wanted)) {
            return &reply->items[i + 1];
        }
    }
    return NULL;
}

bool weir_redis_reply_fails_with(const struct weir_redis_reply *reply, const char *word) {
    size_t size = strlen(word);
    return weir_redis_reply_is(reply, WEIR_REDIS_ERROR) && reply->bytes.size >= size &&
           memcmp(reply->bytes.data, word, size) == 0 &&
           (reply->bytes.size == size || reply->bytes.data[size] == ' ');
}

weir_status weir_redis_reply_odd(const char *doing, struct weir_error *err) {
    return weir_fail(err, WEIR_INVALID, "%s: the server answers as no Redis server does", doing);
}

weir_status weir_redis_reply_status(const struct weir_redis_reply *reply, const char *doing,
                                    struct weir_error *err) {
    static const struct {
        const char *word; // that the error begins with
        weir_status status;
        const char *advice; // behind what the server says
    } rows[] = {
        {"NOAUTH", WEIR_DENIED, "; set `password`, and `user` where it is not the default one"},
        {"WRONGPASS", WEIR_DENIED, "; look at `user` and `password`"},
        {"NOPERM", WEIR_DENIED, "; give the user that right, see ACL SETUSER"},
        {"MOVED", WEIR_UNSUPPORTED, "; Redis Cluster is not supported, give a single server"},
        {"ASK", WEIR_UNSUPPORTED, "; Redis Cluster is not supported, give a single server"},
        {"CROSSSLOT", WEIR_UNSUPPORTED, "; Redis Cluster is not supported, give a single server"},
        {"CLUSTERDOWN", WEIR_UNSUPPORTED, "; Redis Cluster is not supported, give a single server"},
        {"WRONGTYPE", WEIR_INVALID, ""},
        {"READONLY", WEIR_UNAVAILABLE, "; it is a replica, give the address of its master"},
        {"OOM", WEIR_UNAVAILABLE, "; raise maxmemory, or let it evict"},
        {"LOADING", WEIR_UNAVAILABLE, ""},
        {"BUSY", WEIR_UNAVAILABLE, ""},
        {"MASTERDOWN", WEIR_UNAVAILABLE, ""},
        {"NOREPLICAS", WEIR_UNAVAILABLE, ""},
        {"MISCONF", WEIR_UNAVAILABLE, ""},
        {"TRYAGAIN", WEIR_UNAVAILABLE, ""},
    };
    if (!weir_redis_reply_is(reply, WEIR_REDIS_ERROR)) {
        return WEIR_OK;
    }
    char shown[4 * WEIR_SHOW_BYTES];
    weir_show(reply->bytes, shown, sizeof shown);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (weir_redis_reply_fails_with(reply, rows[i].word)) {
            return weir_fail(err, rows[i].status, "%s: %s%s", doing, shown, rows[i].advice);
        }
    }
    bool is_unknown = weir_str_has_prefix(reply->bytes, WEIR_STR("ERR unknown "));
    return weir_fail(err, is_unknown ? WEIR_UNSUPPORTED : WEIR_OTHER, "%s: %s%s", doing, shown,
                     is_unknown ? "; Redis 6.2 or later is needed" : "");
}
