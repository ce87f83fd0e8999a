// SPDX-License-Identifier: Apache-2.0
//
// See names.h.
#include "provider/redis/names.h"

#include "provider/keyvalue.h"

#include <assert.h>

bool weir_redis_is_own(struct weir_str key) {
    return weir_str_has_prefix(key, WEIR_STR(WEIR_REDIS_CHAIN_PREFIX)) ||
           weir_str_has_prefix(key, WEIR_STR(WEIR_REDIS_SEEN_PREFIX));
}

weir_status weir_redis_check_key(struct weir_str key, struct weir_error *err) {
    weir_status status = weir_keyvalue_check_key(key, err);
    if (status == WEIR_OK && weir_redis_is_own(key)) {
        return weir_fail(err, WEIR_INVALID,
                         "keys that begin with \"" WEIR_REDIS_CHAIN_PREFIX
                         "\" or \"" WEIR_REDIS_SEEN_PREFIX "\" are weir's own");
    }
    return status;
}

weir_status weir_redis_check_pattern(const struct weir_pattern *pattern, struct weir_error *err) {
    return pattern->is_prefix ? weir_keyvalue_check_pattern(pattern, err)
                              : weir_redis_check_key(pattern->text, err);
}

static size_t put(char *buffer, size_t at, struct weir_str text) {
    if (text.size > 0) {
        memcpy(buffer + at, text.data, text.size);
    }
    return at + text.size;
}

struct weir_str weir_redis_own_name(const char *prefix, struct weir_str key,
                                    char buffer[static WEIR_REDIS_OWN_BYTES_MAX]) {
    assert(strlen(prefix) + key.size <= WEIR_REDIS_OWN_BYTES_MAX);
    size_t size = put(buffer, 0, weir_str_of(prefix));
    return (struct weir_str){buffer, put(buffer, size, key)};
}

size_t weir_redis_common_bytes(struct weir_str a, struct weir_str b) {
    size_t common = 0;
    while (common < a.size && common < b.size && a.data[common] == b.data[common]) {
        common++;
    }
    return common;
}

struct weir_str weir_redis_glob(struct weir_str prefix,
                                char buffer[static WEIR_REDIS_GLOB_BYTES_MAX]) {
    size_t size = 0;
    assert(prefix.size <= WEIR_KEY_BYTES_MAX);
    for (size_t i = 0; i < prefix.size; i++) {
        if (strchr("*?[]\\^-", prefix.data[i]) && prefix.data[i] != '\0') {
            buffer[size++] = '\\';
        }
        buffer[size++] = prefix.data[i];
    }
    buffer[size++] = '*';
    return (struct weir_str){buffer, size};
}
