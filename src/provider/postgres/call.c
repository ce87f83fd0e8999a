// SPDX-License-Identifier: Apache-2.0
//
// What every call that reads or writes begins and ends with: a connection of the resource's pool,
// and the moment by which it must be over.
#include "provider/postgres/resource.h"

#include "base/clock.h"

enum { CLOSED_TRIES_MAX = 65 }; // as many as the pool can hold, and one that is made

weir_status weir_pg_call_begin(struct weir_pg_resource *resource, int64_t until_ns,
                               struct weir_pg_call *ret_call, struct weir_error *err) {
    int64_t own_ns = weir_clock_monotonic_ns() + resource->target.timeout_ns;
    until_ns = own_ns < until_ns ? own_ns : until_ns;
    *ret_call = (struct weir_pg_call){.resource = resource, .waiter = {.until_ns = until_ns}};
    // Those that the server has closed meanwhile are thrown away: what is sent on one of them would
    // fail without anybody knowing whether it was done.
    for (int i = 0; i < CLOSED_TRIES_MAX; i++) {
        void *connection;
        bool is_made;
        weir_status status = weir_pool_take(resource->pool, until_ns, &connection, &is_made, err);
        if (status != WEIR_OK) {
            return status;
        }
        if (is_made || weir_pg_is_fresh(connection)) {
            ret_call->connection = connection;
            return WEIR_OK;
        }
        weir_pool_give(resource->pool, connection, false);
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "the server closes each connection at once");
}

void weir_pg_call_end(struct weir_pg_call *call) {
    weir_pool_give(call->resource->pool, call->connection, weir_pg_is_usable(call->connection));
}

weir_status weir_pg_call_text(const struct weir_pg_call *call, const char *text,
                              struct weir_error *err) {
    struct weir_pg_answer answer;
    const struct weir_pg_statement statement = {.text = text, .is_simple = true};
    weir_status status = weir_pg_run(call->connection, &call->waiter, &statement, &answer, err);
    PQclear(answer.result);
    return status;
}
