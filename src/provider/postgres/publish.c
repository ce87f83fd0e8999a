// SPDX-License-Identifier: Apache-2.0
//
// Publishing an event: a key of a store is set or removed; an outbox gets a row, with the data as
// its payload and everything else as its attributes; a channel is notified with the event as JSON.
//
// Any thread.
#include "provider/postgres/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "event/json.h"
#include "provider/keyvalue.h"
#include "provider/postgres/value.h"
#include "provider/subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_BYTES = 1024 + WEIR_PG_QUOTED_BYTES, // of a statement
    NOTIFICATION_BYTES_MAX = 7999,            // PostgreSQL's own bound
};

// ---- an outbox ----

// The type of the payload's column, asked once.
static weir_status find_type(const struct weir_pg_call *call, uint32_t *ret_type,
                             struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &call->resource->outbox_table;
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    *ret_type = atomic_load(&call->resource->payload_type);
    if (*ret_type != 0) {
        return WEIR_OK;
    }
    snprintf(text, sizeof text, "SELECT %s FROM %s LIMIT 0", table->payload, table->name.quoted);
    const struct weir_pg_statement statement = {.text = text};
    weir_status status = weir_pg_run(call->connection, &call->waiter, &statement, &answer, err);
    if (status == WEIR_OK) {
        *ret_type = PQftype(answer.result, 0);
        atomic_store(&call->resource->payload_type, *ret_type);
    }
    PQclear(answer.result);
    return status;
}

// Whether the column takes any bytes in binary form: bytea, text and json do; jsonb has another,
// and gets a text that is cast. A column that has got another type since refuses what is not its
// own, and is asked for again; text in place of jsonb takes the JSON as jsonb writes it.
static bool takes_bytes(uint32_t type) {
    return type != WEIR_PG_JSONB;
}

static weir_status insert(const struct weir_pg_call *call, struct weir_str key,
                          const struct weir_payload *data, const char *attributes, uint32_t type,
                          struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &call->resource->outbox_table;
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    // A text that is not sent as bytes ends with a NUL.
    char *payload = data ? malloc(data->bytes.size + 1) : NULL;
    if (data && !payload) {
        return weir_fail_no_memory(err, "a row");
    }
    if (payload && data->bytes.size > 0) {
        memcpy(payload, data->bytes.data, data->bytes.size);
    }
    if (payload) {
        payload[data->bytes.size] = '\0';
    }
    const char *values[] = {key.data, payload, attributes};
    const int sizes[] = {(int)key.size, data ? (int)data->bytes.size : 0, 0};
    const int formats[] = {1, takes_bytes(type), 0};
    snprintf(text, sizeof text, "INSERT INTO %s (%s, %s, %s) VALUES ($1, $2%s, $3)",
             table->name.quoted, table->key, table->payload, table->attributes,
             takes_bytes(type) ? "" : "::jsonb");
    const struct weir_pg_statement statement = {
        .text = text, .count = 3, .values = values, .sizes = sizes, .formats = formats};
    weir_status status = weir_pg_run(call->connection, &call->waiter, &statement, &answer, err);
    if (status != WEIR_OK) {
        atomic_store(&call->resource->payload_type, 0);
    }
    PQclear(answer.result);
    free(payload);
    return status;
}

static weir_status publish_to_outbox(const struct weir_pg_call *call, struct weir_str key,
                                     const struct weir_event_fields *fields,
                                     struct weir_error *err) {
    const struct weir_pg_outbox_table *table = &call->resource->outbox_table;
    struct weir_event_fields rest = *fields;
    char *attributes;
    uint32_t type = 0;
    if (!table->key[0] || !table->payload[0] || !table->attributes[0]) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "an outbox can be published to where it has a key_column, a "
                         "payload_column and an attributes_column");
    }
    rest.data.is_some = false;
    weir_status status = weir_event_to_json(&rest, &attributes, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = find_type(call, &type, err);
    if (status == WEIR_OK) {
        status = insert(call, key, fields->data.is_some ? &fields->data.value : NULL, attributes,
                        type, err);
    }
    free(attributes);
    return status;
}

// ---- a channel ----

static weir_status notify(const struct weir_pg_call *call, const struct weir_event_fields *fields,
                          struct weir_error *err) {
    char *json;
    weir_status status = weir_event_to_json(fields, &json, err);
    if (status != WEIR_OK) {
        return status;
    }
    size_t size = strlen(json);
    if (size > NOTIFICATION_BYTES_MAX) {
        free(json);
        return weir_fail(
            err, WEIR_LIMIT,
            "the event has %zu bytes as JSON; a notification of PostgreSQL has at most "
            "%d: put what is large into a table, and notify of its key",
            size, NOTIFICATION_BYTES_MAX);
    }
    const char *values[] = {call->resource->channels[0], json};
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {
        .text = "SELECT pg_notify($1, $2)", .count = 2, .values = values};
    status = weir_pg_run(call->connection, &call->waiter, &statement, &answer, err);
    PQclear(answer.result);
    free(json);
    return status;
}

// ---- publishing ----

// What came of an attempt, as publish has to tell it: only what is wrong with the event itself is
// for ever.
static weir_status attempted(weir_status status, struct weir_error *err) {
    if (status == WEIR_OK || status == WEIR_INVALID || status == WEIR_NO_MEMORY ||
        status == WEIR_UNSUPPORTED || status == WEIR_LIMIT) {
        return status;
    }
    if (err) {
        err->status = WEIR_UNAVAILABLE;
    }
    return WEIR_UNAVAILABLE;
}

static weir_status publish_to(const struct weir_pg_call *call, struct weir_str key,
                              const struct weir_event_fields *fields, struct weir_error *err) {
    switch (call->resource->mode) {
    case WEIR_PG_KV:
        return weir_pg_store_publish(call, key, fields, err);
    case WEIR_PG_OUTBOX:
        return publish_to_outbox(call, key, fields, err);
    case WEIR_PG_CHANNELS:
        return notify(call, fields, err);
    case WEIR_PG_ROWS:
        break;
    }
    return weir_fail(err, WEIR_UNSUPPORTED,
                     "%s tells rows of tables and cannot be published to; with one of the options "
                     "kv, outbox and channels it can",
                     call->resource->base.name);
}

// The key that the event names. To a channel goes an event without one, too.
static weir_status key_of(const struct weir_pg_resource *resource,
                          const struct weir_event_fields *fields,
                          struct weir_subject_buffer *buffer, struct weir_str *ret_key,
                          struct weir_error *err) {
    weir_status status = weir_subject_key(fields, buffer, ret_key, err);
    if (status != WEIR_OK || resource->mode == WEIR_PG_CHANNELS) {
        return status;
    }
    if (!fields->subject.is_some) {
        return weir_fail(err, WEIR_INVALID, "the event has no subject, which would name the key");
    }
    status = weir_keyvalue_check_key(*ret_key, err);
    return status == WEIR_OK ? WEIR_OK : weir_error_prefix(err, status, "the subject");
}

weir_status weir_pg_publish(struct weir_resource *base, struct weir_event *event,
                            struct weir_error *err) {
    struct weir_pg_resource *resource = (struct weir_pg_resource *)base;
    struct weir_subject_buffer buffer;
    struct weir_pg_call call;
    struct weir_str key;
    char shown[WEIR_SHOW_BYTES];
    weir_status status = key_of(resource, &event->fields, &buffer, &key, err);
    if (status != WEIR_OK) {
        return status;
    }
    int64_t until_ns = weir_clock_monotonic_ns() + WEIR_PUBLISH_WAIT_MS * WEIR_NS_PER_MS;
    status = weir_pg_call_begin(resource, until_ns, &call, err);
    if (status == WEIR_OK) {
        status = publish_to(&call, key, &event->fields, err);
        weir_pg_call_end(&call);
    }
    status = attempted(status, err);
    return status == WEIR_OK ? WEIR_OK
                             : weir_error_prefix(err, status, "cannot publish the key \"%s\"",
                                                 weir_show(key, shown, sizeof shown));
}
