// SPDX-License-Identifier: Apache-2.0
//
// Reading and writing a bucket, on connections of the pool. A key is read from the stream's leader
// (STREAM.MSG.GET), not from whichever replica is near: who has set a key reads what it has set. A
// value is set by a message to the key's subject, and is durable when the stream says so.
#include "provider/nats/resource.h"

#include "base/base64.h"
#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
    BACKOFF_MS_MAX = 8, // before a key is tried again that others have changed
    LIST_BATCH = 500,
    LIST_BYTES_MAX = 256 << 20, // of all keys of a listing
};

int64_t weir_nats_until_ns(const struct weir_nats_resource *resource, int64_t until_ns) {
    int64_t own_ns = weir_clock_monotonic_ns() + resource->options.timeout_ns;
    return own_ns < until_ns ? own_ns : until_ns;
}

weir_status weir_nats_check_bucket(const struct weir_nats_resource *resource, const char *what,
                                   struct weir_error *err) {
    return resource->options.mode == WEIR_NATS_KV
               ? WEIR_OK
               : weir_fail(err, WEIR_UNSUPPORTED,
                           "%s has no keys to be %s: it is a %s of NATS, no bucket",
                           resource->base.name, what,
                           resource->stream[0] ? "stream" : "plain subject");
}

// ---- connections ----

weir_status weir_nats_api_ask(const struct weir_nats_resource *resource,
                              struct weir_nats_client *client, const struct weir_waiter *waiter,
                              const char *subject, const char *body,
                              struct weir_nats_frame *ret_frame, struct weir_error *err) {
    char full[WEIR_NATS_SUBJECT_BYTES_MAX + 1];
    int size = snprintf(full, sizeof full, "%s%s", resource->api, subject);
    const struct weir_nats_post post = {
        .subject = {full, size < 0 ? 0 : (size_t)size},
        .data = weir_str_of(body),
    };
    return weir_nats_client_ask(client, post, waiter, ret_frame, err);
}

// Makes the bucket or the stream where it is missing.
static weir_status ensure_stream(const struct weir_nats_resource *resource,
                                 struct weir_nats_client *client, const struct weir_waiter *waiter,
                                 struct weir_error *err) {
    char subject[256], subjects[WEIR_NATS_PREFIX_BYTES + 2];
    struct weir_nats_frame frame;
    struct weir_nats_fault fault = {0};
    snprintf(subject, sizeof subject, "STREAM.INFO.%s", resource->stream);
    weir_status status = weir_nats_api_ask(resource, client, waiter, subject, "", &frame, err);
    if (status != WEIR_OK) {
        return status;
    }
    json_t *answer = weir_nats_api_read(&frame, &fault);
    bool is_missing = !answer && fault.code == WEIR_NATS_NO_STREAM;
    json_decref(answer);
    if (!is_missing) { // another fault is told by who needs the stream
        return WEIR_OK;
    }
    snprintf(subject, sizeof subject, "STREAM.CREATE.%s", resource->stream);
    snprintf(subjects, sizeof subjects, "%s>", resource->naming.prefix);
    char *body = weir_nats_stream_request(&resource->options, resource->stream, subjects);
    if (!body) {
        return weir_fail_no_memory(err, "a request to JetStream");
    }
    status = weir_nats_api_ask(resource, client, waiter, subject, body, &frame, err);
    free(body);
    if (status == WEIR_OK) {
        answer = weir_nats_api_read(&frame, &fault);
        status = answer ? WEIR_OK : weir_nats_api_fail(&fault, "making the bucket or stream", err);
        json_decref(answer);
    }
    return status;
}

weir_status weir_nats_connect(struct weir_nats_resource *resource, const struct weir_waiter *waiter,
                              struct weir_nats_client **ret_client, struct weir_error *err) {
    weir_status status = weir_nats_client_open(&resource->login, waiter, ret_client, err);
    if (status == WEIR_OK && resource->options.create) {
        status = ensure_stream(resource, *ret_client, waiter, err);
        if (status != WEIR_OK) {
            weir_nats_client_close(*ret_client);
            *ret_client = NULL;
        }
    }
    return status;
}

static weir_status pool_open(void *context, int64_t until_ns, void **ret_connection,
                             struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = until_ns};
    struct weir_nats_client *client = NULL;
    weir_status status = weir_nats_connect(context, &waiter, &client, err);
    *ret_connection = client;
    return status;
}

static void pool_close(void *context, void *connection) {
    (void)context;
    weir_nats_client_close(connection);
}

const struct weir_pool_args weir_nats_pool_args = {
    .idle_ns = 30 * WEIR_NS_PER_S,
    .open = pool_open,
    .close = pool_close,
};

// Takes a connection that the server has not closed meanwhile.
static weir_status take_client(struct weir_nats_resource *resource, int64_t until_ns,
                               struct weir_nats_client **ret_client, struct weir_error *err) {
    for (;;) { // ends: a fresh one is taken as it is
        void *connection;
        bool is_fresh;
        weir_status status = weir_pool_take(resource->pool, until_ns, &connection, &is_fresh, err);
        *ret_client = connection;
        if (status != WEIR_OK || is_fresh || weir_nats_client_is_alive(connection)) {
            return status;
        }
        weir_pool_give(resource->pool, connection, false);
    }
}

// What a call does with a connection.
struct task {
    weir_status (*run)(void *context, struct weir_nats_resource *resource,
                       struct weir_nats_client *client, int64_t until_ns, struct weir_error *err);
    void *context;
};

static weir_status run(struct weir_nats_resource *resource, int64_t until_ns,
                       const struct task *task, struct weir_error *err) {
    struct weir_nats_client *client;
    struct weir_error error = {0};
    weir_status status = take_client(resource, until_ns, &client, &error);
    if (status == WEIR_OK) {
        status = task->run(task->context, resource, client, until_ns, &error);
        // After these an answer may still be under way, or nothing ever comes.
        bool is_usable = status != WEIR_UNAVAILABLE && status != WEIR_DENIED &&
                         status != WEIR_NO_MEMORY && status != WEIR_STOPPED;
        weir_pool_give(resource->pool, client, is_usable);
    }
    if (status != WEIR_OK && err) {
        *err = error;
    }
    return status;
}

// ---- one key ----

// The last message of a key.
struct entry {
    uint64_t revision; // 0: there is none
    bool is_there;     // it is a value, not a marker of a deletion
    struct weir_value value;
    uint64_t size; // of the value, also where it is not here
};

// Takes Base64 that comes from a server.
static bool decode_base64(struct weir_str text, struct weir_value *ret_value) {
    *ret_value = (struct weir_value){.data = malloc(text.size / 4 * 3 + 1)};
    return ret_value->data && weir_base64_decode(text, ret_value->data, &ret_value->size);
}

static struct weir_str base64_of(const json_t *message, const char *name) {
    const json_t *text = json_object_get(message, name);
    return (struct weir_str){json_string_value(text), json_string_length(text)};
}

static weir_status read_entry(const json_t *answer, uint64_t bytes_max, struct entry *entry,
                              struct weir_error *err) {
    const json_t *message = json_object_get(answer, "message");
    json_int_t revision = json_integer_value(json_object_get(message, "seq"));
    struct weir_str data = base64_of(message, "data"), coded = base64_of(message, "hdrs");
    struct weir_value headers;
    if (revision <= 0 || data.size > WEIR_NATS_MESSAGE_BYTES_MAX) {
        return weir_fail(err, WEIR_UNAVAILABLE, "JetStream answers without the message");
    }
    if (!decode_base64(coded, &headers)) {
        free(headers.data);
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "JetStream answers with headers that are no Base64");
    }
    struct weir_str operation = weir_nats_headers_find(
        (struct weir_str){headers.data, headers.size}, WEIR_NATS_HEADER_OPERATION);
    entry->revision = (uint64_t)revision;
    entry->is_there = operation.size == 0 || weir_str_equal(operation, WEIR_STR("PUT"));
    free(headers.data);
    if (!entry->is_there) {
        return WEIR_OK;
    }
    // Padding stands for at most two bytes. Before anything is copied.
    if (data.size >= 4 && data.size / 4 * 3 - 2 > bytes_max) {
        return weir_fail(err, WEIR_LIMIT, "the value has some %zu bytes, more than %" PRIu64,
                         data.size / 4 * 3, bytes_max);
    }
    if (!decode_base64(data, &entry->value)) {
        free(entry->value.data);
        entry->value = (struct weir_value){0};
        return weir_fail(err, WEIR_UNAVAILABLE, "JetStream answers with data that are no Base64");
    }
    if (entry->value.size > bytes_max) {
        size_t size = entry->value.size;
        free(entry->value.data);
        entry->value = (struct weir_value){0};
        return weir_fail(err, WEIR_LIMIT, "the value has %zu bytes, more than %" PRIu64, size,
                         bytes_max);
    }
    return WEIR_OK;
}

// Reads the last message of a subject. No message is no error.
static weir_status get_entry(struct weir_nats_resource *resource, struct weir_nats_client *client,
                             const struct weir_nats_subject *subject, uint64_t bytes_max,
                             int64_t until_ns, struct entry *ret_entry, struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = until_ns};
    char api[128];
    struct weir_nats_frame frame;
    struct weir_nats_fault fault = {0};
    *ret_entry = (struct entry){0};
    snprintf(api, sizeof api, "STREAM.MSG.GET.%s", resource->stream);
    json_t *question = json_pack("{s:s}", "last_by_subj", subject->text);
    char *body = question ? json_dumps(question, JSON_COMPACT) : NULL;
    json_decref(question);
    if (!body) {
        return weir_fail_no_memory(err, "a request to JetStream");
    }
    weir_status status = weir_nats_api_ask(resource, client, &waiter, api, body, &frame, err);
    free(body);
    if (status != WEIR_OK) {
        return status;
    }
    json_t *answer = weir_nats_api_read(&frame, &fault);
    if (answer) {
        status = read_entry(answer, bytes_max, ret_entry, err);
    } else if (fault.code != WEIR_NATS_NO_MESSAGE) {
        status = weir_nats_api_fail(&fault, "reading a key", err);
    }
    json_decref(answer);
    return status;
}

weir_status weir_nats_store(struct weir_nats_resource *resource, struct weir_nats_client *client,
                            const struct weir_nats_post *post, int64_t until_ns,
                            struct weir_nats_fault *ret_fault, struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = until_ns};
    struct weir_nats_frame frame;
    struct weir_nats_receipt receipt;
    *ret_fault = (struct weir_nats_fault){0};
    (void)resource;
    weir_status status = weir_nats_client_ask(client, *post, &waiter, &frame, err);
    if (status != WEIR_OK) {
        return status;
    }
    json_t *answer = weir_nats_api_read(&frame, ret_fault);
    if (!answer) {
        weir_nats_api_fail(ret_fault, "storing a message", err);
        return WEIR_OTHER;
    }
    bool is_stored = weir_nats_receipt_read(answer, &receipt);
    json_decref(answer);
    return is_stored ? WEIR_OK
                     : weir_fail(err, WEIR_UNAVAILABLE, "the stream answers without a number");
}

// The status of a fault for who has asked.
static weir_status status_of(weir_status status, const struct weir_nats_fault *fault,
                             struct weir_error *err) {
    return status == WEIR_OTHER ? weir_nats_api_fail(fault, "storing a value", err) : status;
}

// A value, or a marker that there is none.
struct writing {
    struct weir_str value;
    bool is_removal;
    bool is_checked; // only if the key's last revision is this one
    uint64_t revision;
};

static bool put_headers(struct weir_nats_buffer *headers, const struct writing *writing) {
    char number[24];
    snprintf(number, sizeof number, "%" PRIu64, writing->revision);
    if (!writing->is_removal && !writing->is_checked) {
        return true;
    }
    return weir_nats_headers_begin(headers) &&
           (!writing->is_removal ||
            weir_nats_headers_put(headers, WEIR_NATS_HEADER_OPERATION, WEIR_STR("DEL"))) &&
           (!writing->is_checked ||
            weir_nats_headers_put(headers, WEIR_NATS_HEADER_LAST_SEQUENCE, weir_str_of(number))) &&
           weir_nats_headers_end(headers);
}

// WEIR_OTHER: see *ret_fault.
static weir_status write_key(struct weir_nats_resource *resource, struct weir_nats_client *client,
                             const struct weir_nats_subject *subject, const struct writing *writing,
                             int64_t until_ns, struct weir_nats_fault *ret_fault,
                             struct weir_error *err) {
    struct weir_nats_buffer headers = {0};
    if (!put_headers(&headers, writing)) {
        weir_nats_buffer_finish(&headers);
        return weir_fail_no_memory(err, "a message");
    }
    // In another domain a bucket's subjects are reached through its API.
    char full[WEIR_NATS_SUBJECT_BYTES_MAX + 128];
    int size = snprintf(full, sizeof full, "%s%s", resource->options.domain ? resource->api : "",
                        subject->text);
    const struct weir_nats_post post = {
        .subject = {full, (size_t)size},
        .headers = weir_nats_buffer_view(&headers),
        .data = writing->value,
    };
    weir_status status = weir_nats_store(resource, client, &post, until_ns, ret_fault, err);
    weir_nats_buffer_finish(&headers);
    return status;
}

// ---- get, set ----

static weir_status subject_of(struct weir_nats_resource *resource, const char *what,
                              struct weir_str key, struct weir_nats_subject *ret_subject,
                              struct weir_error *err) {
    weir_status status = weir_nats_check_bucket(resource, what, err);
    status = status == WEIR_OK ? weir_keyvalue_check_key(key, err) : status;
    return status == WEIR_OK ? weir_nats_subject_of(&resource->naming, key, ret_subject, err)
                             : status;
}

static weir_status fail_absent(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "there is no key \"%s\"",
                     weir_show(key, shown, sizeof shown));
}

struct get {
    struct weir_nats_subject subject;
    struct weir_str key;
    uint64_t bytes_max;
    struct weir_value *ret_value;
};

static weir_status run_get(void *context, struct weir_nats_resource *resource,
                           struct weir_nats_client *client, int64_t until_ns,
                           struct weir_error *err) {
    struct get *get = context;
    struct entry entry;
    weir_status status =
        get_entry(resource, client, &get->subject, get->bytes_max, until_ns, &entry, err);
    if (status == WEIR_OK && !entry.is_there) {
        return fail_absent(get->key, err);
    }
    *get->ret_value = entry.value;
    return status;
}

weir_status weir_nats_get(struct weir_resource *base, struct weir_str key,
                          const struct weir_limits *limits, struct weir_value *ret_value,
                          struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct get get = {.key = key, .bytes_max = limits->value_bytes_max, .ret_value = ret_value};
    weir_status status = subject_of(resource, "read", key, &get.subject, err);
    const struct task task = {.run = run_get, .context = &get};
    return status == WEIR_OK
               ? run(resource, weir_nats_until_ns(resource, limits->until_ns), &task, err)
               : status;
}

struct set {
    struct weir_nats_subject subject;
    struct writing writing;
};

static weir_status run_set(void *context, struct weir_nats_resource *resource,
                           struct weir_nats_client *client, int64_t until_ns,
                           struct weir_error *err) {
    struct set *set = context;
    struct weir_nats_fault fault;
    return status_of(
        write_key(resource, client, &set->subject, &set->writing, until_ns, &fault, err), &fault,
        err);
}

weir_status weir_nats_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                          const struct weir_limits *limits, struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct set set = {.writing = {.value = value}};
    weir_status status = subject_of(resource, "set", key, &set.subject, err);
    const struct task task = {.run = run_set, .context = &set};
    return status == WEIR_OK
               ? run(resource, weir_nats_until_ns(resource, limits->until_ns), &task, err)
               : status;
}

// ---- reading and writing as one step ----

// A short while, longer each time, so that those who change the same key do not do it in step.
static void back_off(unsigned attempt, int64_t until_ns) {
    unsigned char random = 0;
    ssize_t got = getrandom(&random, 1, GRND_NONBLOCK);
    (void)got;
    int64_t most_ns = (attempt < BACKOFF_MS_MAX ? attempt + 1 : BACKOFF_MS_MAX) * WEIR_NS_PER_MS;
    int64_t wait_ns = most_ns * (random + 1) / 256;
    int64_t left_ns = until_ns - weir_clock_monotonic_ns();
    struct timespec wait = weir_clock_timespec(wait_ns < left_ns ? wait_ns
                                               : left_ns > 0     ? left_ns
                                                                 : 0);
    nanosleep(&wait, NULL);
}

struct update {
    struct weir_nats_subject subject;
    struct weir_str key;
    uint64_t bytes_max;
    const struct weir_change *change; // NULL: the key is removed
};

// What is to be written in place of the entry.
static weir_status decide(const struct update *update, const struct entry *entry,
                          struct weir_value *ret_value, struct weir_error *err) {
    if (!update->change) {
        return entry->is_there ? WEIR_OK : fail_absent(update->key, err);
    }
    struct weir_str current = {entry->value.data, entry->value.size};
    return update->change->change(update->change->context, entry->is_there ? &current : NULL,
                                  ret_value, err);
}

// WEIR_OTHER with a fault of WEIR_NATS_WRONG_SEQUENCE: others were first.
static weir_status try_update(const struct update *update, struct weir_nats_resource *resource,
                              struct weir_nats_client *client, int64_t until_ns,
                              struct weir_nats_fault *ret_fault, weir_status *ret_refusal,
                              struct weir_error *err) {
    struct entry entry;
    struct weir_value made = {0};
    weir_status status =
        get_entry(resource, client, &update->subject, update->bytes_max, until_ns, &entry, err);
    if (status != WEIR_OK) {
        return status;
    }
    *ret_refusal = decide(update, &entry, &made, err);
    free(entry.value.data);
    if (*ret_refusal == WEIR_OK) {
        const struct writing writing = {
            .value = {made.data, made.size},
            .is_removal = !update->change,
            .is_checked = true,
            .revision = entry.revision,
        };
        status = write_key(resource, client, &update->subject, &writing, until_ns, ret_fault, err);
    }
    free(made.data);
    return status;
}

// Runs with a connection; what `change` refuses is no fault of the connection's.
struct updating {
    const struct update *update;
    weir_status refusal;
    struct weir_error refused;
};

static weir_status run_update(void *context, struct weir_nats_resource *resource,
                              struct weir_nats_client *client, int64_t until_ns,
                              struct weir_error *err) {
    struct updating *updating = context;
    struct weir_nats_fault fault = {0};
    for (unsigned attempt = 0; attempt < WEIR_NATS_UPDATES_MAX; attempt++) {
        weir_status status = try_update(updating->update, resource, client, until_ns, &fault,
                                        &updating->refusal, err);
        if (updating->refusal != WEIR_OK) {
            updating->refused = *err;
            return WEIR_OK;
        }
        if (status != WEIR_OTHER || fault.code != WEIR_NATS_WRONG_SEQUENCE) {
            return status_of(status, &fault, err);
        }
        if (weir_clock_monotonic_ns() >= until_ns) {
            break;
        }
        back_off(attempt, until_ns);
    }
    updating->refusal = weir_fail(&updating->refused, WEIR_UNAVAILABLE,
                                  "others have changed the key each time before this did");
    return WEIR_OK;
}

static weir_status update_key(struct weir_nats_resource *resource, const struct update *update,
                              int64_t until_ns, struct weir_error *err) {
    struct updating updating = {.update = update};
    const struct task task = {.run = run_update, .context = &updating};
    weir_status status = run(resource, weir_nats_until_ns(resource, until_ns), &task, err);
    if (status == WEIR_OK && updating.refusal != WEIR_OK && err) {
        *err = updating.refused;
    }
    return status == WEIR_OK ? updating.refusal : status;
}

weir_status weir_nats_update(struct weir_resource *base, struct weir_str key,
                             const struct weir_limits *limits, const struct weir_change *change,
                             struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct update update = {.key = key, .bytes_max = limits->value_bytes_max, .change = change};
    weir_status status = subject_of(resource, "changed", key, &update.subject, err);
    return status == WEIR_OK ? update_key(resource, &update, limits->until_ns, err) : status;
}

weir_status weir_nats_remove_key(struct weir_nats_resource *resource, struct weir_str key,
                                 int64_t until_ns, struct weir_error *err) {
    struct update update = {.key = key, .bytes_max = UINT64_MAX};
    weir_status status = subject_of(resource, "removed", key, &update.subject, err);
    return status == WEIR_OK ? update_key(resource, &update, until_ns, err) : status;
}

weir_status weir_nats_remove(struct weir_resource *base, struct weir_str key,
                             const struct weir_limits *limits, struct weir_error *err) {
    return weir_nats_remove_key(weir_nats_of(base), key, limits->until_ns, err);
}

// ---- listing ----

struct listed {
    uint64_t sequence;
    bool is_there;
    size_t begin, size; // of the key, in the buffer
};

struct list {
    const struct weir_pattern *pattern;
    const struct weir_listing *listing;
    struct weir_nats_buffer keys;
    struct listed *items;
    size_t count, capacity;
};

static weir_status add_item(struct list *list, const struct weir_nats_resource *resource,
                            const struct weir_nats_frame *frame, uint64_t sequence,
                            struct weir_error *err) {
    char buffer[WEIR_KEY_BYTES_MAX];
    struct weir_str key;
    if (!weir_nats_key_of(&resource->naming, frame->subject, buffer, &key) ||
        !weir_pattern_matches(list->pattern, key)) {
        return WEIR_OK;
    }
    if (list->count >= resource->options.keys_max || list->keys.end >= LIST_BYTES_MAX) {
        return weir_fail(err, WEIR_LIMIT, "more than %" PRIu64 " keys; raise keys_max",
                         resource->options.keys_max);
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        struct listed *grown = realloc(list->items, capacity * sizeof *grown);
        if (!grown) {
            return weir_fail_no_memory(err, "a listing");
        }
        list->items = grown;
        list->capacity = capacity;
    }
    struct weir_str operation = weir_nats_headers_find(frame->headers, WEIR_NATS_HEADER_OPERATION);
    list->items[list->count++] = (struct listed){
        .sequence = sequence,
        .is_there = operation.size == 0 || weir_str_equal(operation, WEIR_STR("PUT")),
        .begin = list->keys.end,
        .size = key.size,
    };
    return weir_nats_buffer_put(&list->keys, key) ? WEIR_OK : weir_fail_no_memory(err, "a listing");
}

static weir_status make_lister(struct weir_nats_resource *resource, struct weir_nats_client *client,
                               const char *filter, int64_t until_ns,
                               struct weir_nats_consumer *ret_consumer, struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = until_ns};
    const struct weir_nats_consumer_args args = {
        .stream = resource->stream,
        .filter = filter,
        .start = WEIR_NATS_FROM_LATEST,
        .is_listing = true,
    };
    char subject[128];
    struct weir_nats_frame frame;
    struct weir_nats_fault fault = {0};
    snprintf(subject, sizeof subject, "CONSUMER.CREATE.%s", resource->stream);
    char *body = weir_nats_consumer_request(&args);
    if (!body) {
        return weir_fail_no_memory(err, "a request to JetStream");
    }
    weir_status status = weir_nats_api_ask(resource, client, &waiter, subject, body, &frame, err);
    free(body);
    if (status != WEIR_OK) {
        return status;
    }
    json_t *answer = weir_nats_api_read(&frame, &fault);
    if (!answer) {
        return weir_nats_api_fail(&fault, "listing the keys", err);
    }
    bool is_read = weir_nats_consumer_read(answer, ret_consumer);
    json_decref(answer);
    return is_read ? WEIR_OK
                   : weir_fail(err, WEIR_UNAVAILABLE, "JetStream answers without a consumer");
}

// Takes the messages of one request. *ret_pending: those that are still to come.
static weir_status take_batch(struct list *list, struct weir_nats_resource *resource,
                              struct weir_nats_client *client, uint64_t wanted, int64_t until_ns,
                              uint64_t *ret_pending, struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = until_ns};
    for (uint64_t taken = 0; taken < wanted;) { // ends by until_ns
        struct weir_nats_frame frame;
        struct weir_nats_delivery delivery;
        weir_status status = weir_nats_client_await(client, &waiter, &frame, err);
        if (status != WEIR_OK) {
            return status;
        }
        if (!weir_nats_delivery_read(frame.reply, &delivery)) {
            if (weir_nats_headers_status(frame.headers) == 0) {
                continue; // an answer that came too late
            }
            return WEIR_OK; // this request is over; the next one asks for the rest
        }
        status = add_item(list, resource, &frame, delivery.sequence, err);
        if (status != WEIR_OK) {
            return status;
        }
        *ret_pending = delivery.pending;
        if (delivery.pending == 0) {
            return WEIR_OK;
        }
        taken++;
    }
    return WEIR_OK;
}

static weir_status collect(struct list *list, struct weir_nats_resource *resource,
                           struct weir_nats_client *client,
                           const struct weir_nats_consumer *consumer, int64_t until_ns,
                           struct weir_error *err) {
    char subject[640], inbox[WEIR_NATS_INBOX_BYTES + 8], body[WEIR_NATS_PULL_BYTES];
    uint64_t pending = consumer->pending;
    snprintf(subject, sizeof subject, "%sCONSUMER.MSG.NEXT.%s.%s", resource->api, resource->stream,
             consumer->name);
    snprintf(inbox, sizeof inbox, "%s.list", weir_nats_client_inbox(client));
    while (pending > 0) { // ends by until_ns
        uint64_t wanted = pending < LIST_BATCH ? pending : LIST_BATCH;
        int64_t left_ns = until_ns - weir_clock_monotonic_ns();
        weir_nats_pull_request(wanted, 0, left_ns > WEIR_NS_PER_MS ? left_ns : WEIR_NS_PER_MS,
                               body);
        const struct weir_nats_post post = {
            .subject = weir_str_of(subject),
            .reply = weir_str_of(inbox),
            .data = weir_str_of(body),
        };
        weir_status status = weir_nats_client_publish(client, &post, err);
        status = status == WEIR_OK
                     ? take_batch(list, resource, client, wanted, until_ns, &pending, err)
                     : status;
        if (status != WEIR_OK) {
            return status;
        }
    }
    return WEIR_OK;
}

// By the keys' bytes; of one key, the latest first.
static int compare(const void *a, const void *b, void *context) {
    const struct listed *left = a, *right = b;
    const char *bytes = context;
    size_t common = left->size < right->size ? left->size : right->size;
    int order = memcmp(bytes + left->begin, bytes + right->begin, common);
    if (order == 0) {
        order = left->size < right->size ? -1 : left->size > right->size;
    }
    return order != 0                         ? order
           : left->sequence > right->sequence ? -1
                                              : left->sequence < right->sequence;
}

static void tell(const struct list *list) {
    struct weir_str last = {0};
    for (size_t i = 0; i < list->count; i++) {
        const struct listed *item = &list->items[i];
        struct weir_str key = {list->keys.bytes + item->begin, item->size};
        bool is_again = i > 0 && weir_str_equal(last, key); // it was changed meanwhile
        last = key;
        if (!is_again && item->is_there && !list->listing->each(list->listing->context, key)) {
            return;
        }
    }
}

static weir_status run_list(void *context, struct weir_nats_resource *resource,
                            struct weir_nats_client *client, int64_t until_ns,
                            struct weir_error *err) {
    struct list *list = context;
    struct weir_nats_subject filter;
    struct weir_nats_consumer consumer;
    weir_status status = weir_nats_filter_of(&resource->naming, list->pattern, &filter, err);
    status = status == WEIR_OK
                 ? make_lister(resource, client, filter.text, until_ns, &consumer, err)
                 : status;
    if (status != WEIR_OK) {
        return status;
    }
    status = collect(list, resource, client, &consumer, until_ns, err);
    char subject[320];
    snprintf(subject, sizeof subject, "%sCONSUMER.DELETE.%s.%s", resource->api, resource->stream,
             consumer.name);
    const struct weir_nats_post post = {.subject = weir_str_of(subject)};
    weir_nats_client_publish(client, &post, NULL); // else it ends by itself
    weir_nats_client_send(client, NULL);
    return status;
}

weir_status weir_nats_list(struct weir_resource *base, const struct weir_pattern *pattern,
                           const struct weir_limits *limits, const struct weir_listing *listing,
                           struct weir_error *err) {
    struct weir_nats_resource *resource = weir_nats_of(base);
    struct list list = {.pattern = pattern, .listing = listing};
    weir_status status = weir_nats_check_bucket(resource, "listed", err);
    status = status == WEIR_OK ? weir_keyvalue_check_pattern(pattern, err) : status;
    const struct task task = {.run = run_list, .context = &list};
    if (status == WEIR_OK) {
        status = run(resource, weir_nats_until_ns(resource, limits->until_ns), &task, err);
    }
    if (status == WEIR_OK && list.count > 0) {
        qsort_r(list.items, list.count, sizeof *list.items, compare, list.keys.bytes);
        tell(&list);
    }
    free(list.items);
    weir_nats_buffer_finish(&list.keys);
    return status;
}
