// SPDX-License-Identifier: Apache-2.0
//
// Writing in the modes that have streams: a value and its entry in the log, or an entry alone, as
// one step, by scripts. Any thread.
#ifndef WEIR_PROVIDER_REDIS_LOG_WRITE_H
#define WEIR_PROVIDER_REDIS_LOG_WRITE_H

#include "provider/redis/resource.h"

// A change of a key in the mode `log`.
struct weir_redis_log_change {
    struct weir_str key;
    bool is_deletion;
    bool keeps_expiry; // of a value that is there
    struct weir_str value;
    const struct weir_event *event; // that is published; NULL: none
};

// Appends the command that makes the change; its reply is the entry's id, or nil where there is no
// such key to be removed, or the event was published before.
weir_status weir_redis_log_put(struct weir_redis_loan *loan,
                               const struct weir_redis_log_change *change, struct weir_error *err);

// Appends the command that adds the event to the stream that is called so.
weir_status weir_redis_stream_put(struct weir_redis_loan *loan, struct weir_str stream,
                                  const struct weir_event *event, struct weir_error *err);

#endif
