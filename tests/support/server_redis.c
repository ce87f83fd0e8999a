// SPDX-License-Identifier: Apache-2.0
//
// Redis, for server.c.
#include "support/server_kind.h"

#include "unit/test.h"

#include <signal.h>
#include <sys/un.h>

// ---- its configuration ----

static const char *keeping(enum test_server_keep keep) {
    static const char *const texts[] = {
        // What was written is with the kernel before it is confirmed, whether it is flushed or not.
        [TEST_KEEPS_WRITTEN] = "appendonly yes\nappendfsync no\n",
        [TEST_KEEPS_FLUSHED] = "appendonly yes\nappendfsync always\n",
        [TEST_KEEPS_SECONDS] = "appendonly yes\nappendfsync everysec\n",
        [TEST_KEEPS_NOTHING] = "appendonly no\n",
    };
    return texts[keep];
}

static void configure(struct test_server *server) {
    char text[TEST_SERVER_TEXT_BYTES];
    test_path(&server->folder, "socket", server->socket);
    REQUIRE(strlen(server->socket) < sizeof((struct sockaddr_un *)NULL)->sun_path);
    int size =
        snprintf(text, sizeof text,
                 "bind 127.0.0.1\n"
                 "port %u\n"
                 "unixsocket %s\n"
                 "dir %s\n"
                 "save \"\"\n"
                 "%s"
                 "enable-debug-command local\n"
                 "%s%s\n"
                 "%s\n",
                 server->port, server->socket, server->data.path, keeping(server->keep),
                 server->password ? "requirepass " : "", server->password ? server->password : "",
                 server->config ? server->config : "");
    REQUIRE((size_t)size < sizeof text);
    test_write(&server->folder, "redis.conf", text);
}

static void prepare(struct test_server *server) {
    test_mkdir(&server->folder, "data");
}

static void arguments(const struct test_server *server, const char *ret_arguments[static 8],
                      char ret_text[static TEST_SERVER_TEXT_BYTES]) {
    ret_arguments[0] = test_path(&server->folder, "redis.conf", ret_text);
}

// ---- its answers ----

static bool is_ready(struct test_server *server) {
    struct test_ask ask = {
        .socket = server->socket, // nobody else has this one
        .question = server->type->question,
        .wait_ms = TEST_WAIT_MS,
    };
    char answer[64];
    // Otherwise it still reads its data.
    return test_ask(&ask, answer, sizeof answer) &&
           (strncmp(answer, "+PONG", 5) == 0 || strncmp(answer, "-NOAUTH", 7) == 0);
}

static size_t client_arguments(const struct test_server *server,
                               const char *ret_arguments[static 16],
                               char ret_text[static TEST_SERVER_TEXT_BYTES]) {
    (void)ret_text;
    size_t count = 0;
    ret_arguments[count++] = "-e"; // an error is an exit status
    ret_arguments[count++] = "-s";
    ret_arguments[count++] = server->socket;
    if (server->password) {
        ret_arguments[count++] = "--no-auth-warning";
        ret_arguments[count++] = "-a";
        ret_arguments[count++] = server->password;
    }
    return count;
}

const struct test_server_type test_server_redis = {
    .name = "redis",
    .program = "redis-server",
    .stop_signal = SIGTERM,
    .prepare = prepare,
    .configure = configure,
    .arguments = arguments,
    .is_ready = is_ready,
    .question = {"PING\r\n", 6},
    .answers = {"+PONG", "-NOAUTH"},
    .client = "redis-cli",
    .client_arguments = client_arguments,
    .scheme = "redis",
    .user = "",
    .before_password = ":",
    .path = "/0",
};
