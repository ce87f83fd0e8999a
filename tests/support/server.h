// SPDX-License-Identifier: Apache-2.0
//
// Real servers, each a process of the test with a folder, a port of 127.0.0.1 and data of its own:
// Redis, PostgreSQL, and NATS with JetStream. They end with the test program, however it ends. What
// does not come about within TEST_WAIT_MS fails the test, with the end of the server's log. The
// test's main thread only (see child.h).
#ifndef WEIR_TESTS_SUPPORT_SERVER_H
#define WEIR_TESTS_SUPPORT_SERVER_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum test_server_kind { TEST_REDIS, TEST_POSTGRES, TEST_NATS, TEST_SERVER_KINDS };

// What a server still has after test_server_kill.
enum test_server_keep {
    // All that it has confirmed: that was given to the kernel. As quick as it gets.
    TEST_KEEPS_WRITTEN,
    // The same, and to confirm waits for the disk. (NATS: as above.)
    TEST_KEEPS_FLUSHED,
    // Redis: it flushes each second, as it does by default, and may lose two. Others: as the first.
    TEST_KEEPS_SECONDS,
    // Redis: nothing, not even after a stop in order. Others: as the first.
    TEST_KEEPS_NOTHING,
};

// Zero is what most tests want.
struct test_server_args {
    enum test_server_keep keep;
    // Who connects by TCP has to know it (NATS: it is the token); of [A-Za-z0-9]. NULL: anyone may.
    const char *password;
    // Lines for the server's configuration, behind those that are set here. NULL: none.
    const char *config;
};

enum { TEST_SERVER_URL_BYTES = 256, TEST_SERVER_LOG_TAIL_BYTES = 4096 };

// PostgreSQL's superuser and database.
#define TEST_POSTGRES_USER     "weir"
#define TEST_POSTGRES_DATABASE "postgres"

struct test_server;

// Starts one and waits until it answers. NULL: its program is not on this machine, skip the test.
// `args` may be NULL.
struct test_server *test_server_start(enum test_server_kind kind,
                                      const struct test_server_args *args);
// Ends it, whatever state it is in, and removes its folder. NULL: does nothing.
void test_server_stop(struct test_server *server);

// These return when it is done, and leave the port and, but for the last one, the data.
void test_server_kill(struct test_server *server);    // by SIGKILL, all its processes
void test_server_halt(struct test_server *server);    // in order
void test_server_restart(struct test_server *server); // in order, where it runs; it answers again
void test_server_wipe(struct test_server *server);    // is killed, and starts anew with nothing

// All its processes stand still: connections stay, nothing answers. What is sent meanwhile is
// answered when it goes on.
void test_server_pause(struct test_server *server);
void test_server_continue(struct test_server *server);

// Whether a new connection to the port gets an answer within that time. It looks once.
bool test_server_answers(const struct test_server *server, unsigned wait_ms);

// Sends the bytes on a new connection to the port, and fills in what comes first, at most size - 1
// bytes and a NUL. False: nothing comes within TEST_WAIT_MS. NATS speaks first.
bool test_server_ask(const struct test_server *server, struct weir_str question, char *ret_answer,
                     size_t size);

enum test_server_kind test_server_kind_of(const struct test_server *server);
const char *test_server_name(enum test_server_kind kind); // "redis"
uint16_t test_server_port(const struct test_server *server);
pid_t test_server_pid(const struct test_server *server); // 0: it does not run
// NULL: it has none.
const char *test_server_password(const struct test_server *server);
// Redis: the path of its Unix socket. PostgreSQL: the folder that its socket is in, which libpq
// takes for a host, and where nobody is asked for a password. NATS: NULL.
const char *test_server_socket(const struct test_server *server);
// "redis://:PASSWORD@127.0.0.1:PORT/0", "postgresql://weir:PASSWORD@127.0.0.1:PORT/postgres",
// "nats://TOKEN@127.0.0.1:PORT". Returns `ret_url`.
const char *test_server_url(const struct test_server *server,
                            char ret_url[static TEST_SERVER_URL_BYTES]);
// The end of what it has logged. It stays valid until the next call.
const char *test_server_log_tail(struct test_server *server);

// Runs the server's own command line client on it (redis-cli, psql: its name is told in a failure)
// with these arguments, NULL behind the last, and `input` as its standard input; fails the test
// where it fails. Returns what it printed, NUL-terminated, to be freed. Redis: `-x` makes the input
// the last argument of the command. PostgreSQL: `-f -` makes it the SQL. NATS has no such client in
// Debian: see foreign.h.
char *test_server_cli(struct test_server *server, struct weir_str input,
                      const char *const *arguments);
// The same for arguments alone: TEST_SERVER_CLI(server, "SET", "key", "value").
#define TEST_SERVER_CLI(server, ...) \
    test_server_cli(server, (struct weir_str){0}, (const char *const[]){__VA_ARGS__, NULL})

#endif
