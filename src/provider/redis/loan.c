// SPDX-License-Identifier: Apache-2.0
//
// Connections of threads that read and write, out of the resource's pool. One that the server has
// closed meanwhile, or that a parent process has made, is not used: another one is taken, so that
// what fails on a connection was not lost to that. Any thread.
#include "provider/redis/resource.h"

#include "base/clock.h"

#include <string.h>

enum { CURSOR_BYTES = 32 };

weir_status weir_redis_borrow(struct weir_redis_resource *resource, int64_t until_ns,
                              struct weir_redis_loan *ret_loan, struct weir_error *err) {
    int64_t ours_ns = weir_clock_monotonic_ns() + resource->options.timeout_ns;
    *ret_loan = (struct weir_redis_loan){.resource = resource,
                                         .until_ns = ours_ns < until_ns ? ours_ns : until_ns,
                                         .is_usable = true};
    for (;;) { // ends: idle ones come to their end, and a new one is fresh
        void *connection;
        bool is_new;
        weir_status status =
            weir_pool_take(resource->pool, ret_loan->until_ns, &connection, &is_new, err);
        if (status != WEIR_OK) {
            return status;
        }
        if (is_new || weir_redis_is_fresh(connection)) {
            ret_loan->connection = connection;
            return WEIR_OK;
        }
        weir_pool_give(resource->pool, connection, false);
    }
}

void weir_redis_give_back(struct weir_redis_loan *loan) {
    weir_pool_give(loan->resource->pool, loan->connection, loan->is_usable);
}

weir_status weir_redis_put(struct weir_redis_loan *loan, const struct weir_str *words, size_t count,
                           struct weir_error *err) {
    weir_status status = weir_redis_append(loan->connection, words, count, err);
    loan->is_usable = loan->is_usable && status == WEIR_OK;
    return status;
}

weir_status weir_redis_take(struct weir_redis_loan *loan, struct weir_redis_reply **ret_reply,
                            struct weir_error *err) {
    const struct weir_waiter waiter = {.until_ns = loan->until_ns};
    weir_status status = weir_redis_await(loan->connection, &waiter, ret_reply, err);
    loan->is_usable = loan->is_usable && status == WEIR_OK;
    return status;
}

weir_status weir_redis_ask(struct weir_redis_loan *loan, const struct weir_str *words, size_t count,
                           const char *doing, struct weir_redis_reply **ret_reply,
                           struct weir_error *err) {
    struct weir_redis_reply *reply = NULL;
    *ret_reply = NULL;
    weir_status status = weir_redis_put(loan, words, count, err);
    if (status == WEIR_OK) {
        status = weir_redis_take(loan, &reply, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_reply_status(reply, doing, err);
    }
    if (status == WEIR_OK) {
        *ret_reply = reply;
    } else {
        weir_redis_reply_free(reply);
    }
    return status;
}

// Takes the keys of a page. *ret_cursor: where the next one begins.
static weir_status take_page(const struct weir_redis_reply *page,
                             const struct weir_redis_scan *scan,
                             char ret_cursor[static CURSOR_BYTES], struct weir_error *err) {
    const struct weir_redis_reply *next = weir_redis_reply_at(page, 0);
    const struct weir_redis_reply *keys = weir_redis_reply_at(page, 1), *key;
    if (!weir_redis_reply_is(next, WEIR_REDIS_BULK) || next->bytes.size >= CURSOR_BYTES) {
        return weir_redis_reply_odd("listing", err);
    }
    memcpy(ret_cursor, next->bytes.data, next->bytes.size + 1);
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && (key = weir_redis_reply_at(keys, i)); i++) {
        if (weir_redis_reply_is(key, WEIR_REDIS_BULK)) {
            status = scan->each(scan->context, key->bytes, err);
        }
    }
    return status;
}

weir_status weir_redis_scan(struct weir_redis_loan *loan, const struct weir_redis_scan *scan,
                            struct weir_error *err) {
    char cursor[CURSOR_BYTES] = "0";
    do { // ends: the server's cursor comes round, or the time is over
        const struct weir_str words[] = {
            WEIR_STR("SCAN"),  weir_str_of(cursor),    WEIR_STR("MATCH"), scan->glob,
            WEIR_STR("COUNT"), WEIR_STR("1000"), // keys that the server looks at in one go
            WEIR_STR("TYPE"),  weir_str_of(scan->type)};
        struct weir_redis_reply *page;
        if (scan->renews_time) {
            loan->until_ns = weir_clock_monotonic_ns() + loan->resource->options.timeout_ns;
        }
        weir_status status =
            weir_redis_ask(loan, words, sizeof words / sizeof words[0], "listing", &page, err);
        if (status == WEIR_OK) {
            status = take_page(page, scan, cursor, err);
        }
        weir_redis_reply_free(page);
        if (status != WEIR_OK) {
            return status;
        }
    } while (strcmp(cursor, "0") != 0);
    return WEIR_OK;
}
