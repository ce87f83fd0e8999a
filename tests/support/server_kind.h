// SPDX-License-Identifier: Apache-2.0
//
// What differs between the kinds of servers: one row each, in server_redis.c, server_postgres.c and
// server_nats.c. For server.c and its test; others include server.h.
#ifndef WEIR_TESTS_SUPPORT_SERVER_KIND_H
#define WEIR_TESTS_SUPPORT_SERVER_KIND_H

#include "support/child.h"
#include "support/server.h"

enum { TEST_SERVER_TEXT_BYTES = 4096 };

struct test_server_type {
    const char *name, *program;
    int stop_signal; // ends it in order
    // Fills server->data, which is not there yet, for a first start. NULL: the server does that.
    void (*prepare)(struct test_server *server);
    // Writes its configuration; before each start, when the port is known.
    void (*configure)(struct test_server *server);
    // The program's arguments, of which it may keep texts in `ret_text`.
    void (*arguments)(const struct test_server *server, const char *ret_arguments[static 8],
                      char ret_text[static TEST_SERVER_TEXT_BYTES]);
    // Whether the process that was started serves by now; looks once.
    bool (*is_ready)(struct test_server *server);
    // What a start with an empty folder wants when it is ready. NULL: nothing.
    void (*begin)(struct test_server *server);
    // Frees of the system what a killed process leaves. NULL: nothing.
    void (*clean)(struct test_server *server);
    // What its port is asked, which may be nothing, and how an answer begins.
    struct weir_str question;
    const char *answers[3];
    // Its client's program and the arguments that lead to this server. NULL: there is none.
    const char *client;
    size_t (*client_arguments)(const struct test_server *server,
                               const char *ret_arguments[static 16],
                               char ret_text[static TEST_SERVER_TEXT_BYTES]);
    // Its URL: SCHEME://USER BEFORE_PASSWORD PASSWORD@ADDRESS PATH, the second two where there is a
    // password.
    const char *scheme, *user, *before_password, *path;
    bool is_never_root;
};

struct test_server {
    const struct test_server_type *type;
    enum test_server_kind kind;
    enum test_server_keep keep;
    char *password, *config; // NULL: none
    char program[TEST_PATH_BYTES];
    struct test_folder folder; // configuration, log, socket
    struct test_folder data;   // a folder in it
    char socket[TEST_PATH_BYTES];
    uint16_t port;
    pid_t pid;      // 0: it does not run
    bool is_new;    // it has not been ready with these data yet
    bool was_ready; // somebody may know its port
    char tail[TEST_SERVER_LOG_TAIL_BYTES + 1];
};

extern const struct test_server_type test_server_redis, test_server_postgres, test_server_nats;

// Asks whoever listens at that place, and whether what comes within the time begins with `wanted`.
struct test_ask {
    const char *socket; // NULL: the port
    uint16_t port;
    struct weir_str question; // may be empty: the other side speaks first
    unsigned wait_ms;
};
// Fills in what came first, at most size - 1 bytes and NUL-terminated. False: nothing within the
// time.
bool test_ask(const struct test_ask *ask, char *ret_answer, size_t size);

#endif
