// SPDX-License-Identifier: Apache-2.0
//
// A table as a key-value store: columns `key` (its primary key) and `value`, both bytea or text.
// Values go both ways in binary form, so that any byte may stand in them, and their types are the
// columns', which the server infers: the same statements serve both. What must know the type is the
// listing, since bytes and texts are ordered by different means.
//
// A set is one statement and so one transaction: durable when it returns, as far as the server's
// synchronous_commit says. An update holds its row by SELECT ... FOR UPDATE, so whoever writes the
// row waits for it, by whatever client; for a row that is not there yet there is nothing to hold,
// and who finds that another one has made it meanwhile begins again.
//
// What is published carries its chain in a message before the row's change; see chain.h.
//
// Any thread.
#include "provider/postgres/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/keyvalue.h"
#include "provider/postgres/chain.h"
#include "provider/postgres/value.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_BYTES = 1024 + 2 * WEIR_PG_QUOTED_BYTES, // of a statement
    VALUES_MAX = 4,
    LISTED_AT_ONCE = 1000,   // keys
    UPDATE_TRIES_MAX = 1000, // of one whose row others make and remove; time ends it first
};

static struct weir_pg_resource *resource_of(struct weir_resource *base) {
    return (struct weir_pg_resource *)base;
}

// ---- statements ----

// A statement on the store's table, and its values, which are binary.
struct request {
    char text[TEXT_BYTES];
    const char *values[VALUES_MAX];
    int sizes[VALUES_MAX], formats[VALUES_MAX];
    int count;
};

static void __attribute__((format(printf, 2, 3))) request_init(struct request *request,
                                                               const char *format, ...) {
    va_list args;
    *request = (struct request){.count = 0};
    va_start(args, format);
    vsnprintf(request->text, sizeof request->text, format, args);
    va_end(args);
}

static void add(struct request *request, struct weir_str value) {
    request->values[request->count] = value.data ? value.data : ""; // NULL would be SQL's
    request->sizes[request->count] = (int)value.size;
    request->formats[request->count++] = 1;
}

weir_status weir_pg_store_create(const struct weir_pg_resource *resource, PGconn *connection,
                                 const struct weir_waiter *waiter, struct weir_error *err) {
    char text[TEXT_BYTES];
    struct weir_pg_answer answer;
    snprintf(text, sizeof text,
             "CREATE TABLE IF NOT EXISTS %s (key bytea PRIMARY KEY, value bytea NOT NULL)",
             resource->kv.quoted);
    const struct weir_pg_statement statement = {.text = text};
    weir_status status = weir_pg_run(connection, waiter, &statement, &answer, err);
    PQclear(answer.result);
    // Of two who make it at the same time one may be told that its row of the catalog is there.
    bool is_made = strcmp(answer.state, "23505") == 0 || strcmp(answer.state, "42P07") == 0;
    return is_made ? WEIR_OK
                   : weir_error_prefix(err, status, "cannot make the table %s of the store",
                                       resource->kv.quoted);
}

// Runs it; makes the table where that is what is missing.
static weir_status run(const struct weir_pg_call *call, const struct request *request,
                       struct weir_pg_answer *ret_answer, struct weir_error *err) {
    const struct weir_pg_statement statement = {.text = request->text,
                                                .wants_binary = true,
                                                .count = request->count,
                                                .values = request->values,
                                                .sizes = request->sizes,
                                                .formats = request->formats};
    weir_status status = weir_pg_run(call->connection, &call->waiter, &statement, ret_answer, err);
    if (strcmp(ret_answer->state, "42P01") != 0 || !call->resource->creates ||
        !weir_pg_is_usable(call->connection)) {
        return status;
    }
    status = weir_pg_store_create(call->resource, call->connection, &call->waiter, err);
    return status == WEIR_OK
               ? weir_pg_run(call->connection, &call->waiter, &statement, ret_answer, err)
               : status;
}

// ---- keys ----

static weir_status fail_key(weir_status status, struct weir_error *err, const char *what,
                            struct weir_str key) {
    char shown[WEIR_SHOW_BYTES];
    if (status == WEIR_OK || status == WEIR_NOT_FOUND || status == WEIR_LIMIT) {
        return status;
    }
    return weir_error_prefix(err, status, "cannot %s the key \"%s\"", what,
                             weir_show(key, shown, sizeof shown));
}

static weir_status no_key(struct weir_str key, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    return weir_fail(err, WEIR_NOT_FOUND, "no key \"%s\"", weir_show(key, shown, sizeof shown));
}

// Checks the key, and begins a call.
static weir_status begin(struct weir_resource *base, struct weir_str key, int64_t until_ns,
                         struct weir_pg_call *ret_call, struct weir_error *err) {
    weir_status status = weir_keyvalue_check_key(key, err);
    if (status == WEIR_OK && resource_of(base)->mode != WEIR_PG_KV) {
        status = weir_fail(err, WEIR_UNSUPPORTED,
                           "%s tells rows of tables and is no key-value store; with the option "
                           "`kv: TABLE` a table is one",
                           base->name);
    }
    return status == WEIR_OK ? weir_pg_call_begin(resource_of(base), until_ns, ret_call, err)
                             : status;
}

// ---- get, set, remove ----

// The value in the first row of a result of size and value.
static weir_status take_value(const PGresult *result, uint64_t value_bytes_max, struct weir_str key,
                              struct weir_value *ret_value, struct weir_error *err) {
    char shown[WEIR_SHOW_BYTES];
    if (PQntuples(result) == 0) {
        return no_key(key, err);
    }
    if (PQgetisnull(result, 0, 1)) {
        return weir_fail(err, WEIR_LIMIT,
                         "the value of the key \"%s\" has more than the %llu bytes that may be "
                         "read",
                         weir_show(key, shown, sizeof shown), (unsigned long long)value_bytes_max);
    }
    ret_value->size = (size_t)PQgetlength(result, 0, 1);
    ret_value->data = malloc(ret_value->size + 1); // never of no size
    if (!ret_value->data) {
        return weir_fail_no_memory(err, "a value");
    }
    memcpy(ret_value->data, PQgetvalue(result, 0, 1), ret_value->size);
    return WEIR_OK;
}

// A value that is too large is not sent at all. `lock` stands behind the statement.
static weir_status read_value(const struct weir_pg_call *call, struct weir_str key,
                              const char *lock, uint64_t value_bytes_max,
                              struct weir_value *ret_value, struct weir_error *err) {
    struct request request;
    struct weir_pg_answer answer;
    int64_t most = value_bytes_max > INT64_MAX ? INT64_MAX : (int64_t)value_bytes_max;
    request_init(&request,
                 "SELECT octet_length(value), CASE WHEN octet_length(value) <= %lld THEN value END "
                 "FROM %s WHERE key = $1%s",
                 (long long)most, call->resource->kv.quoted, lock);
    add(&request, key);
    weir_status status = run(call, &request, &answer, err);
    if (status == WEIR_OK) {
        status = take_value(answer.result, value_bytes_max, key, ret_value, err);
    }
    PQclear(answer.result);
    return status;
}

weir_status weir_pg_get(struct weir_resource *base, struct weir_str key,
                        const struct weir_limits *limits, struct weir_value *ret_value,
                        struct weir_error *err) {
    struct weir_pg_call call;
    weir_status status = begin(base, key, limits->until_ns, &call, err);
    if (status == WEIR_OK) {
        status = read_value(&call, key, "", limits->value_bytes_max, ret_value, err);
        weir_pg_call_end(&call);
    }
    return fail_key(status, err, "read", key);
}

// Sets a key. `chain` may be empty.
static weir_status write_value(const struct weir_pg_call *call, struct weir_str key,
                               struct weir_str value, struct weir_str chain,
                               struct weir_error *err) {
    struct request request;
    struct weir_pg_answer answer;
    const char *table = call->resource->kv.quoted;
    if (value.size > INT32_MAX / 4) { // a value of PostgreSQL's has at most 1 GiB
        return weir_fail(err, WEIR_INVALID, "a value of %zu bytes; the largest has %d", value.size,
                         INT32_MAX / 4);
    }
    if (chain.size > 0) {
        request_init(&request,
                     "WITH chain AS MATERIALIZED (SELECT pg_logical_emit_message(true, "
                     "'" WEIR_PG_CHAIN_PREFIX "', $3::bytea)) INSERT INTO %s (key, value) SELECT "
                     "$1, $2 FROM chain ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                     table);
    } else {
        request_init(&request,
                     "INSERT INTO %s (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET "
                     "value = excluded.value",
                     table);
    }
    add(&request, key);
    add(&request, value);
    if (chain.size > 0) {
        add(&request, chain);
    }
    weir_status status = run(call, &request, &answer, err);
    PQclear(answer.result);
    return status;
}

weir_status weir_pg_set(struct weir_resource *base, struct weir_str key, struct weir_str value,
                        const struct weir_limits *limits, struct weir_error *err) {
    struct weir_pg_call call;
    weir_status status = begin(base, key, limits->until_ns, &call, err);
    if (status == WEIR_OK) {
        status = write_value(&call, key, value, WEIR_STR(""), err);
        weir_pg_call_end(&call);
    }
    return fail_key(status, err, "set", key);
}

static weir_status remove_key(const struct weir_pg_call *call, struct weir_str key,
                              struct weir_str chain, struct weir_error *err) {
    struct request request;
    struct weir_pg_answer answer;
    const char *table = call->resource->kv.quoted;
    if (chain.size > 0) {
        request_init(&request,
                     "WITH chain AS MATERIALIZED (SELECT pg_logical_emit_message(true, "
                     "'" WEIR_PG_CHAIN_PREFIX "', $2::bytea)) DELETE FROM %s USING chain WHERE "
                     "key = $1",
                     table);
    } else {
        request_init(&request, "DELETE FROM %s WHERE key = $1", table);
    }
    add(&request, key);
    if (chain.size > 0) {
        add(&request, chain);
    }
    weir_status status = run(call, &request, &answer, err);
    if (status == WEIR_OK && strcmp(PQcmdTuples(answer.result), "0") == 0) {
        status = no_key(key, err);
    }
    PQclear(answer.result);
    return status;
}

weir_status weir_pg_remove(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, struct weir_error *err) {
    struct weir_pg_call call;
    weir_status status = begin(base, key, limits->until_ns, &call, err);
    if (status == WEIR_OK) {
        status = remove_key(&call, key, WEIR_STR(""), err);
        weir_pg_call_end(&call);
    }
    return fail_key(status, err, "remove", key);
}

// ---- list ----

// What the column `key` is, asked once.
static weir_status find_key_kind(const struct weir_pg_call *call, enum weir_pg_key_kind *ret_kind,
                                 struct weir_error *err) {
    struct weir_pg_resource *resource = call->resource;
    struct request request;
    struct weir_pg_answer answer;
    *ret_kind = (enum weir_pg_key_kind)atomic_load(&resource->key_kind);
    if (*ret_kind != WEIR_PG_KEY_UNKNOWN) {
        return WEIR_OK;
    }
    request_init(&request, "SELECT key FROM %s LIMIT 0", resource->kv.quoted);
    weir_status status = run(call, &request, &answer, err);
    if (status == WEIR_OK) {
        *ret_kind =
            PQftype(answer.result, 0) == WEIR_PG_BYTEA ? WEIR_PG_KEY_BYTES : WEIR_PG_KEY_TEXT;
        atomic_store(&resource->key_kind, *ret_kind);
    }
    PQclear(answer.result);
    return status;
}

// The first key behind all those with the prefix, into `buffer`. Empty: there is none.
static struct weir_str behind_prefix(struct weir_str prefix, char *buffer) {
    size_t size = prefix.size;
    while (size > 0 && (unsigned char)prefix.data[size - 1] == 0xFF) {
        size--;
    }
    if (size > 0) {
        memcpy(buffer, prefix.data, size);
        buffer[size - 1]++;
    }
    return (struct weir_str){buffer, size};
}

struct page {
    const struct weir_pattern *pattern;
    struct weir_str after; // keys up to this one were listed
    char after_bytes[WEIR_KEY_BYTES_MAX], end_bytes[WEIR_KEY_BYTES_MAX];
    bool is_first, is_last, is_ended;
};

// Its bounds are all parameters: $1 from where, $2 the prefix or its end.
static void request_page(struct request *request, const struct weir_pg_resource *resource,
                         enum weir_pg_key_kind kind, struct page *page) {
    struct weir_str prefix = page->pattern->text, end = behind_prefix(prefix, page->end_bytes);
    const char *compared = page->is_first ? ">=" : ">";
    bool is_text = kind == WEIR_PG_KEY_TEXT;
    request_init(request, "SELECT key FROM %s WHERE key%s %s $1%s ORDER BY key%s LIMIT %d",
                 resource->kv.quoted, is_text ? " COLLATE \"C\"" : "", compared,
                 is_text         ? " AND starts_with(key, $2)"
                 : end.size == 0 ? ""
                                 : " AND key < $2",
                 is_text ? " COLLATE \"C\"" : "", LISTED_AT_ONCE);
    add(request, page->is_first ? prefix : page->after);
    if (is_text) {
        add(request, prefix);
    } else if (end.size > 0) {
        add(request, end);
    }
}

static void tell_page(const PGresult *result, struct page *page,
                      const struct weir_listing *listing) {
    int count = PQntuples(result);
    page->is_last = count < LISTED_AT_ONCE;
    page->is_first = false;
    for (int i = 0; i < count && !page->is_ended; i++) {
        struct weir_str key = {PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0)};
        if (key.size > WEIR_KEY_BYTES_MAX) {
            continue; // somebody else's, who may not be asked for it either
        }
        memcpy(page->after_bytes, key.data, key.size);
        page->after = (struct weir_str){page->after_bytes, key.size};
        // An empty key, or one with a NUL, is none of weir's.
        if (weir_keyvalue_check_key(key, NULL) == WEIR_OK) {
            page->is_ended = !listing->each(listing->context, key);
        }
    }
}

static weir_status list_prefix(const struct weir_pg_call *call, const struct weir_pattern *pattern,
                               const struct weir_listing *listing, struct weir_error *err) {
    enum weir_pg_key_kind kind;
    weir_status status = find_key_kind(call, &kind, err);
    struct page *page = calloc(1, sizeof *page);
    if (!page) {
        return weir_fail_no_memory(err, "a listing");
    }
    page->pattern = pattern;
    page->is_first = true;
    while (status == WEIR_OK && !page->is_last && !page->is_ended) { // ends: the call's moment
        struct request request;
        struct weir_pg_answer answer;
        request_page(&request, call->resource, kind, page);
        status = run(call, &request, &answer, err);
        if (status == WEIR_OK) {
            tell_page(answer.result, page, listing);
        }
        PQclear(answer.result);
    }
    free(page);
    return status;
}

static weir_status list_key(const struct weir_pg_call *call, struct weir_str key,
                            const struct weir_listing *listing, struct weir_error *err) {
    struct request request;
    struct weir_pg_answer answer;
    request_init(&request, "SELECT 1 FROM %s WHERE key = $1", call->resource->kv.quoted);
    add(&request, key);
    weir_status status = run(call, &request, &answer, err);
    if (status == WEIR_OK && PQntuples(answer.result) > 0) {
        listing->each(listing->context, key);
    }
    PQclear(answer.result);
    return status;
}

weir_status weir_pg_list(struct weir_resource *base, const struct weir_pattern *pattern,
                         const struct weir_limits *limits, const struct weir_listing *listing,
                         struct weir_error *err) {
    struct weir_pg_call call;
    bool is_all = pattern->is_prefix && pattern->text.size == 0;
    weir_status status =
        begin(base, is_all ? WEIR_STR("*") : pattern->text, limits->until_ns, &call, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = pattern->is_prefix ? list_prefix(&call, pattern, listing, err)
                                : list_key(&call, pattern->text, listing, err);
    weir_pg_call_end(&call);
    return status == WEIR_OK ? WEIR_OK : weir_error_prefix(err, status, "cannot list keys");
}

// ---- update ----

// Puts the new value in the row's place. `is_there`: the row is held. Sets *ret_is_lost where
// another one has made the row meanwhile.
static weir_status put_row(const struct weir_pg_call *call, struct weir_str key, bool is_there,
                           const struct weir_value *value, bool *ret_is_lost,
                           struct weir_error *err) {
    struct request request;
    struct weir_pg_answer answer;
    request_init(&request,
                 is_there ? "UPDATE %s SET value = $2 WHERE key = $1"
                          : "INSERT INTO %s (key, value) VALUES ($1, $2) ON CONFLICT (key) DO "
                            "NOTHING",
                 call->resource->kv.quoted);
    add(&request, key);
    add(&request, (struct weir_str){value->data, value->size});
    weir_status status = run(call, &request, &answer, err);
    *ret_is_lost = status == WEIR_OK && strcmp(PQcmdTuples(answer.result), "0") == 0;
    PQclear(answer.result);
    return status;
}

// Within a transaction.
static weir_status change_row(const struct weir_pg_call *call, struct weir_str key,
                              const struct weir_limits *limits, const struct weir_change *change,
                              bool *ret_is_lost, struct weir_error *err) {
    struct weir_value before = {.data = NULL}, after = {.data = NULL};
    weir_status status =
        read_value(call, key, " FOR UPDATE", limits->value_bytes_max, &before, err);
    bool is_there = status == WEIR_OK;
    if (status != WEIR_OK && status != WEIR_NOT_FOUND) {
        return status;
    }
    struct weir_str current = {before.data, before.size};
    status = change->change(change->context, is_there ? &current : NULL, &after, err);
    if (status == WEIR_OK) {
        status = put_row(call, key, is_there, &after, ret_is_lost, err);
        free(after.data);
    }
    free(before.data);
    return status;
}

static weir_status update_once(const struct weir_pg_call *call, struct weir_str key,
                               const struct weir_limits *limits, const struct weir_change *change,
                               bool *ret_is_lost, struct weir_error *err) {
    struct weir_error ignored;
    *ret_is_lost = false;
    weir_status status = weir_pg_call_text(call, "BEGIN", err);
    if (status != WEIR_OK) {
        return status;
    }
    status = change_row(call, key, limits, change, ret_is_lost, err);
    if (status == WEIR_OK && !*ret_is_lost) {
        return weir_pg_call_text(call, "COMMIT", err);
    }
    // If this fails the connection is not used again.
    weir_pg_call_text(call, "ROLLBACK", &ignored);
    return status;
}

// The table must be there before the transaction: a statement that fails ends it.
static weir_status update_key(const struct weir_pg_call *call, struct weir_str key,
                              const struct weir_limits *limits, const struct weir_change *change,
                              struct weir_error *err) {
    enum weir_pg_key_kind kind;
    weir_status status = find_key_kind(call, &kind, err);
    bool is_lost = true;
    for (int i = 0; status == WEIR_OK && is_lost && i < UPDATE_TRIES_MAX; i++) {
        status = update_once(call, key, limits, change, &is_lost, err);
    }
    return status == WEIR_OK && is_lost
               ? weir_fail(err, WEIR_UNAVAILABLE, "others were always first")
               : status;
}

weir_status weir_pg_update(struct weir_resource *base, struct weir_str key,
                           const struct weir_limits *limits, const struct weir_change *change,
                           struct weir_error *err) {
    struct weir_pg_call call;
    weir_status status = begin(base, key, limits->until_ns, &call, err);
    if (status == WEIR_OK) {
        status = update_key(&call, key, limits, change, err);
        weir_pg_call_end(&call);
    }
    return status;
}

// ---- publish ----

weir_status weir_pg_store_publish(const struct weir_pg_call *call, struct weir_str key,
                                  const struct weir_event_fields *fields, struct weir_error *err) {
    char buffer[WEIR_PG_CHAIN_BYTES_MAX];
    struct weir_str chain = {buffer, weir_pg_chain_encode(fields, buffer)};
    if (!fields->data.is_some && weir_str_equal(fields->ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED))) {
        weir_status status = remove_key(call, key, chain, err);
        return status == WEIR_NOT_FOUND ? WEIR_OK : status; // it is removed already
    }
    return write_value(call, key, fields->data.is_some ? fields->data.value.bytes : WEIR_STR(""),
                       chain, err);
}
