// SPDX-License-Identifier: Apache-2.0
//
// Private to `weir kv`: what its actions share.
#ifndef WEIR_CLI_KV_H
#define WEIR_CLI_KV_H

#include "cli/command.h"
#include "provider/provider.h"

struct weir_kv {
    const struct weir_cli *cli;
    const char *action; // "get"
    struct weir_resource *resource;
    const struct weir_provider *provider; // the resource's
    struct weir_str key;                  // an empty one where none was given
    const char *value;                    // NULL: from standard input
    // Options:
    struct weir_limits limits;
    uint64_t count;     // 0: without end
    int64_t timeout_ns; // 0: without end
    bool is_null_ended; // ls: keys end by a NUL
};

// Tells what went wrong with an action. Returns the exit status.
int weir_kv_failed(const struct weir_kv *kv, const struct weir_error *err);

// `weir kv watch`: prints changes until there were `count`, the time is over, SIGINT or SIGTERM
// comes (both must be blocked in every thread), or the reader of standard output is gone. Returns
// the exit status.
int weir_kv_watch(const struct weir_kv *kv);

#endif
