// SPDX-License-Identifier: Apache-2.0
//
// See visible.h.
#include "provider/postgres/visible.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// Reads a number and what stands behind it. False: it is not there.
static bool take(const char **at, char end, uint64_t *ret_number) {
    char *behind;
    if (**at < '0' || **at > '9') {
        return false;
    }
    errno = 0;
    *ret_number = strtoull(*at, &behind, 10);
    bool is_there = errno == 0 && (*behind == end || (end == ',' && *behind == '\0'));
    *at = behind + (is_there && *behind != '\0');
    return is_there;
}

static bool parse(const char *text, struct weir_pg_visible *visible) {
    if (!take(&text, ':', &visible->first_running) || !take(&text, ':', &visible->next)) {
        return false;
    }
    while (*text) {
        if (!take(&text, ',', &visible->running[visible->running_count++])) {
            return false;
        }
    }
    return true;
}

weir_status weir_pg_visible_parse(const char *text, struct weir_pg_visible **ret_visible,
                                  struct weir_error *err) {
    size_t most = 1;
    for (const char *comma = strchr(text, ','); comma; comma = strchr(comma + 1, ',')) {
        most++;
    }
    *ret_visible = NULL;
    if (most > WEIR_PG_RUNNING_MAX) {
        return weir_fail(err, WEIR_LIMIT, "%zu transactions are running", most);
    }
    struct weir_pg_visible *visible = calloc(1, sizeof *visible + most * sizeof(uint64_t));
    if (!visible) {
        return weir_fail_no_memory(err, "a watch");
    }
    if (!parse(text, visible)) {
        free(visible);
        return weir_fail(err, WEIR_OTHER,
                         "the server sent \"%.40s\" where the running transactions were wanted",
                         text);
    }
    *ret_visible = visible;
    return WEIR_OK;
}

bool weir_pg_visible_has(const struct weir_pg_visible *visible, uint32_t xid) {
    // The number nearest to `next` that has this lower half.
    int32_t distance = (int32_t)(xid - (uint32_t)visible->next);
    if (distance >= 0) {
        return false;
    }
    uint64_t whole = visible->next + (uint64_t)(int64_t)distance;
    if (whole < visible->first_running) {
        return true;
    }
    for (size_t i = 0; i < visible->running_count; i++) {
        if (visible->running[i] == whole) {
            return false;
        }
    }
    return true;
}
