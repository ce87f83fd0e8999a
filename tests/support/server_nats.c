// SPDX-License-Identifier: Apache-2.0
//
// NATS with JetStream, for server.c.
#include "support/server_kind.h"

#include "unit/test.h"

#include <signal.h>

// How long it may take to say what it is, once it is connected to.
enum { INFO_WAIT_MS = 2000 };

static const char *name_of(const struct test_server *server, char ret_name[static 64]) {
    snprintf(ret_name, 64, "weir-test-%d-%u", (int)getpid(), server->port);
    return ret_name;
}

static void configure(struct test_server *server) {
    char text[TEST_SERVER_TEXT_BYTES], name[64], password[128] = "";
    if (server->password) {
        snprintf(password, sizeof password, "authorization { token: \"%s\" }\n", server->password);
    }
    int size = snprintf(text, sizeof text,
                        "listen: 127.0.0.1:%u\n"
                        "server_name: \"%s\"\n"
                        "jetstream {\n"
                        "  store_dir: \"%s\"\n"
                        "  max_memory_store: 64MB\n"
                        "  max_file_store: 1GB\n"
                        "}\n"
                        "%s"
                        "%s\n",
                        server->port, name_of(server, name), server->data.path, password,
                        server->config ? server->config : "");
    REQUIRE((size_t)size < sizeof text);
    test_write(&server->folder, "nats.conf", text);
}

static void arguments(const struct test_server *server, const char *ret_arguments[static 8],
                      char ret_text[static TEST_SERVER_TEXT_BYTES]) {
    ret_arguments[0] = "-c";
    ret_arguments[1] = test_path(&server->folder, "nats.conf", ret_text);
}

// It listens for clients when JetStream has read its store. Its name tells it from others, who may
// have got the port.
static bool is_ready(struct test_server *server) {
    struct test_ask ask = {.port = server->port, .wait_ms = INFO_WAIT_MS};
    char answer[2048], name[64];
    return test_ask(&ask, answer, sizeof answer) && strncmp(answer, "INFO ", 5) == 0 &&
           strstr(answer, name_of(server, name)) && strstr(answer, "\"jetstream\":true");
}

const struct test_server_type test_server_nats = {
    .name = "nats",
    .program = "nats-server",
    .stop_signal = SIGTERM,
    .configure = configure,
    .arguments = arguments,
    .is_ready = is_ready,
    .answers = {"INFO "},
    .scheme = "nats",
    .user = "",
    .before_password = "",
    .path = "",
};
