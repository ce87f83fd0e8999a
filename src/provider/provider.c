// SPDX-License-Identifier: Apache-2.0
//
// The providers of this build. A new provider is its folder and one row here. Constant data, any
// thread.
#include "provider/provider.h"

#include "provider/file/file.h"
#include "provider/nats/nats.h"
#include "provider/postgres/postgres.h"
#include "provider/redis/redis.h"
#include "provider/sqlite/sqlite.h"
#include "provider/topic/topic.h"

const struct weir_provider *const weir_providers[] = {
    &weir_file_provider,
    &weir_sqlite_provider,
    &weir_redis_provider,
    &weir_nats_provider,
    &weir_postgres_provider,
    &weir_topic_provider,
    NULL,
};

const struct weir_provider *weir_provider_find(struct weir_str kind) {
    for (const struct weir_provider *const *provider = weir_providers; *provider; provider++) {
        if (weir_str_equal(kind, weir_str_of((*provider)->kind))) {
            return *provider;
        }
    }
    return NULL;
}

const char *weir_strength_name(enum weir_strength strength) {
    return strength == WEIR_EVERY_CHANGE ? "every-change" : "latest-value";
}
