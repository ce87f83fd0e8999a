// SPDX-License-Identifier: Apache-2.0
//
// A Redis server of the test's own, somebody else's client of it, and a resource on it with a sink,
// for tests of the provider's own business. The test's main thread only.
#ifndef WEIR_TESTS_SUPPORT_REDIS_RIG_H
#define WEIR_TESTS_SUPPORT_REDIS_RIG_H

#include "provider/provider.h"
#include "support/foreign.h"
#include "support/notes.h"
#include "support/server.h"
#include "support/sink.h"

enum { REDIS_RIG_OPTIONS_BYTES = 1024 };

struct redis_rig {
    struct test_server *server;
    struct test_foreign *foreign;
    struct weir_resource *resource;
    char options[REDIS_RIG_OPTIONS_BYTES]; // of the resource, to open it again
    struct test_sink sink;
};

// Starts the server; skips the test where there is none. `args` may be NULL.
void redis_rig_init(struct redis_rig *rig, const struct test_server_args *args);
void redis_rig_finish(struct redis_rig *rig);

// Opens a resource with options "NAME=VALUE NAME=VALUE". Without an address it is the server's Unix
// socket.
weir_status redis_rig_try_open(const struct redis_rig *rig, const char *name, const char *options,
                               struct weir_resource **ret_resource, struct weir_error *err);
void redis_rig_open(struct redis_rig *rig, const char *options); // the rig's
void redis_rig_reopen(struct redis_rig *rig);                    // as a stop and a start do

struct redis_rig_watch {
    const char *key;
    const char *name;         // NULL: none
    struct test_sink *sink;   // NULL: the rig's
    struct test_notes *notes; // in place of the sink
    const struct weir_resume *resume;
    uint64_t event_bytes_max; // 0: 1 MiB
};
weir_status redis_rig_try_watch(const struct redis_rig *rig, const struct redis_rig_watch *wanted,
                                struct weir_watch **ret_watch, struct weir_error *err);
struct weir_watch *redis_rig_watch(const struct redis_rig *rig,
                                   const struct redis_rig_watch *wanted);

// What somebody else does: words of a command.
#define redis_rig_do(rig, ...) json_decref(TEST_FOREIGN_REDIS((rig)->foreign, __VA_ARGS__))
// A number that the server answers.
int64_t redis_rig_number(const struct redis_rig *rig, const char *const *words);
#define REDIS_RIG_NUMBER(rig, ...) redis_rig_number((rig), (const char *const[]){__VA_ARGS__, NULL})
// The same from the server's command line client, of a text that it prints. To be freed.
#define redis_rig_ask(rig, ...) TEST_SERVER_CLI((rig)->server, __VA_ARGS__)

void redis_rig_await_health(const struct redis_rig *rig, bool is_connected);
uint64_t redis_rig_reconnects(const struct redis_rig *rig);

#endif
