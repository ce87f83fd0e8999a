// SPDX-License-Identifier: Apache-2.0
//
// See web.h.
#include "unit/http/web.h"

#include "unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BODY_BYTES_MAX = 16 * 1024 * 1024 };

static bool spawn(struct test_web *web, int in_fd, int out_fd) {
    char name[] = "python3", path[4096];
    const char *source_dir = getenv("WEIR_SOURCE_DIR");
    REQUIRE(source_dir);
    snprintf(path, sizeof path, "%s/tests/unit/http/server.py", source_dir);
    char *arguments[] = {name, path, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_fd, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out_fd, STDOUT_FILENO);
    int code = posix_spawnp(&web->child, name, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    REQUIRE(code == 0 || code == ENOENT);
    return code == 0;
}

bool test_web_start(struct test_web *web) {
    int in[2], out[2];
    REQUIRE(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
    bool is_there = spawn(web, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    web->in_fd = in[1];
    FILE *told = fdopen(out[0], "r");
    REQUIRE(told);
    if (is_there) {
        unsigned port, tls_port;
        REQUIRE(fscanf(told, "%u %u %199s", &port, &tls_port, web->certificate) == 3);
        web->port = (uint16_t)port;
        web->tls_port = (uint16_t)tls_port;
    } else {
        close(web->in_fd);
    }
    fclose(told);
    return is_there;
}

void test_web_stop(struct test_web *web) {
    int status;
    close(web->in_fd);
    REQUIRE(waitpid(web->child, &status, 0) == web->child);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

struct weir_str test_web_url(const struct test_web *web, const char *path,
                             char ret_url[static TEST_WEB_URL_BYTES]) {
    snprintf(ret_url, TEST_WEB_URL_BYTES, "http://127.0.0.1:%u/%s", web->port, path);
    return weir_str_of(ret_url);
}

struct weir_http_request test_web_get(struct weir_str url) {
    return (struct weir_http_request){
        .method = WEIR_STR("GET"),
        .url = url,
        .until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS,
        .response_bytes_max = BODY_BYTES_MAX,
    };
}
