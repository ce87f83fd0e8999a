// SPDX-License-Identifier: Apache-2.0
//
// A server of PostgreSQL, somebody else's client of it, and an opened resource of the provider,
// with subscriptions that keep their position as weir keeps it. The test's thread only.
#ifndef WEIR_TESTS_SUPPORT_POSTGRES_RIG_H
#define WEIR_TESTS_SUPPORT_POSTGRES_RIG_H

#include "provider/postgres/resource.h"
#include "support/foreign.h"
#include "support/server.h"
#include "support/sink.h"

enum { POSTGRES_RIG_EVENT_BYTES_MAX = 1 << 20, POSTGRES_RIG_LOG_BYTES = 1 << 16 };

struct postgres_rig {
    struct test_server *server;
    struct test_foreign *foreign;
    struct weir_pg_options options; // address, user; heartbeat 100 ms
    struct weir_resource *resource; // NULL: it is closed
    struct weir_log *log;
    int log_fd;
};

// A subscription: what it was told, and the position behind which it would go on.
struct postgres_sub {
    struct postgres_rig *rig;
    struct test_sink sink; // bookmarks are not in it
    const char *name, *pattern;
    struct weir_watch *watch; // NULL: it does not watch
    bool acknowledges;        // each event at once, as where handlers are quick
    pthread_mutex_t lock;
    // Under lock.
    char position[WEIR_POSITION_BYTES_MAX];
    size_t position_size;
    size_t bookmarks;
};

// The server of the program, started by the first call, with a database that is made anew. NULL
// where this machine has none: the tests are skipped. `args` hold for the first call.
struct postgres_rig *postgres_rig_create(const struct test_server_args *args);
// Not the server: it ends with the program.
void postgres_rig_destroy(struct postgres_rig *rig);
// As cmocka's set-up and tear-down; *state is a rig whose resource is not opened, or NULL.
int postgres_rig_setup(void **state);
int postgres_rig_teardown(void **state);
struct postgres_rig *postgres_rig_of(void **state); // skips the case where there is no server

// Sets one of the options' texts, in place of what it was.
void postgres_rig_set(char **option, const char *text);
void postgres_rig_open(struct postgres_rig *rig);
weir_status postgres_rig_try_open(struct postgres_rig *rig, struct weir_error *err);
void postgres_rig_close(struct postgres_rig *rig);

// SQL by somebody else. Of one row and column the text, "" for NULL or nothing; to be freed.
void postgres_rig_sql(struct postgres_rig *rig, const char *sql);
char *postgres_rig_ask(struct postgres_rig *rig, const char *sql);
// Whether the answer is this.
bool postgres_rig_is(struct postgres_rig *rig, const char *sql, const char *answer);
bool postgres_rig_has_logged(struct postgres_rig *rig, const char *text);
// Drops all slots, which may take a moment to be free.
void postgres_rig_drop_slots(struct postgres_rig *rig);

void postgres_sub_init(struct postgres_sub *sub, struct postgres_rig *rig, const char *name,
                       const char *pattern);
void postgres_sub_finish(struct postgres_sub *sub);
// Begins, or goes on from its position, if it has one.
weir_status postgres_sub_try_begin(struct postgres_sub *sub, struct weir_error *err);
void postgres_sub_begin(struct postgres_sub *sub);
void postgres_sub_end(struct postgres_sub *sub);
// These wait for the next event, which is to be that, or a gap whose data has the reason.
void postgres_sub_expect_json(struct postgres_sub *sub, const char *type, const char *key,
                              const char *data);
const struct weir_event *postgres_sub_expect(struct postgres_sub *sub, const char *key,
                                             const char *data);
void postgres_sub_expect_gap(struct postgres_sub *sub, const char *reason);
size_t postgres_sub_bookmarks(struct postgres_sub *sub);

#endif
