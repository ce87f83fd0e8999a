// SPDX-License-Identifier: Apache-2.0
//
// See foreign.h. The test's main thread only.
#include "support/foreign.h"

#include "support/child.h"
#include "unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// Of an answer's line.
enum { ANSWER_BYTES_MAX = 64 << 20 };

struct test_foreign {
    pid_t child;
    int in_fd;  // closed: the child ends
    int out_fd; // of the child's output
    const char *name;
    char *buffer; // of the line that is read
    size_t size, room;
    char error[1024]; // of test_foreign_try
};

// ---- bytes as text ----

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

json_t *test_json_bytes(struct weir_str bytes) {
    size_t size = (bytes.size + 2) / 3 * 4;
    char *text = malloc(size + 1), *to = text;
    REQUIRE(text);
    const unsigned char *from = (const unsigned char *)bytes.data;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t three = (uint32_t)from[i] << 16 | (left > 1 ? (uint32_t)from[i + 1] << 8 : 0) |
                         (left > 2 ? from[i + 2] : 0);
        *to++ = digits[three >> 18];
        *to++ = digits[three >> 12 & 63];
        *to++ = left > 1 ? digits[three >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[three & 63] : '=';
    }
    json_t *json = json_stringn(text, size);
    free(text);
    REQUIRE(json);
    return json;
}

char *test_json_take(const json_t *text, size_t *ret_size) {
    *ret_size = 0;
    if (json_is_null(text)) {
        return NULL;
    }
    if (!json_is_string(text)) {
        fail_msg("the answer has a JSON value of type %d and not bytes",
                 text ? json_typeof(text) : -1);
    }
    char *bytes = malloc(json_string_length(text) / 4 * 3 + 1);
    REQUIRE(bytes);
    uint32_t bits = 0;
    unsigned count = 0;
    for (const char *from = json_string_value(text); *from && *from != '='; from++) {
        const char *digit = strchr(digits, *from);
        REQUIRE(digit);
        bits = bits << 6 | (uint32_t)(digit - digits);
        count += 6;
        if (count >= 8) {
            count -= 8;
            bytes[(*ret_size)++] = (char)(bits >> count);
        }
    }
    bytes[*ret_size] = '\0';
    return bytes;
}

// ---- lines ----

static void send_line(struct test_foreign *foreign, const json_t *request) {
    char *line = json_dumps(request, JSON_COMPACT);
    REQUIRE(line);
    size_t size = strlen(line);
    line[size++] = '\n'; // in place of the end
    for (size_t sent = 0; sent < size;) {
        ssize_t written = send(foreign->in_fd, line + sent, size - sent, MSG_NOSIGNAL);
        if (written < 0 && errno != EINTR) {
            fail_msg("the client of %s is gone: %s", foreign->name, strerror(errno));
        }
        sent += written > 0 ? (size_t)written : 0;
    }
    free(line);
}

static void read_more(struct test_foreign *foreign, int64_t until_ns) {
    if (foreign->room - foreign->size < BUFSIZ) {
        foreign->room = foreign->room * 2 + BUFSIZ;
        REQUIRE(foreign->room <= ANSWER_BYTES_MAX);
        foreign->buffer = realloc(foreign->buffer, foreign->room);
        REQUIRE(foreign->buffer);
    }
    int64_t left_ms = (until_ns - weir_clock_monotonic_ns()) / WEIR_NS_PER_MS;
    struct pollfd wait = {.fd = foreign->out_fd, .events = POLLIN};
    if (left_ms <= 0 || poll(&wait, 1, (int)left_ms) == 0) {
        fail_msg("the client of %s does not answer within %d ms", foreign->name, TEST_WAIT_MS);
    }
    ssize_t got =
        read(foreign->out_fd, foreign->buffer + foreign->size, foreign->room - foreign->size);
    if (got <= 0) {
        fail_msg("the client of %s has ended; what it said is above", foreign->name);
    }
    foreign->size += (size_t)got;
}

// The answer's object, to be unref'd. One line comes for each that was sent, so that nothing is in
// the buffer behind it.
static json_t *read_line(struct test_foreign *foreign) {
    int64_t until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS;
    foreign->size = 0;
    do {
        read_more(foreign, until_ns);
    } while (foreign->buffer[foreign->size - 1] != '\n');
    json_error_t error;
    json_t *answer = json_loadb(foreign->buffer, foreign->size, 0, &error);
    if (!answer) {
        fail_msg("the client of %s answers what is no JSON: %s", foreign->name, error.text);
    }
    return answer;
}

// ---- start and end ----

static const char *python(char ret_path[static TEST_PATH_BYTES]) {
    const char *given = getenv("WEIR_PYTHON");
    if (given && given[0]) {
        return given;
    }
    return test_program_find("python3", ret_path) ? ret_path : NULL;
}

static void place(const struct test_server *server, const char *ret_words[static 8],
                  char ret_text[static TEST_SERVER_URL_BYTES]) {
    size_t count = 0;
    ret_words[count++] = test_server_name(test_server_kind_of(server));
    switch (test_server_kind_of(server)) {
    case TEST_REDIS:
        ret_words[count++] = test_server_socket(server);
        ret_words[count++] = test_server_password(server);
        break;
    case TEST_POSTGRES:
        snprintf(ret_text, TEST_SERVER_URL_BYTES, "%u", test_server_port(server));
        ret_words[count++] = test_server_socket(server);
        ret_words[count++] = ret_text;
        ret_words[count++] = TEST_POSTGRES_USER;
        ret_words[count++] = TEST_POSTGRES_DATABASE;
        break;
    default:
        ret_words[count++] = test_server_url(server, ret_text);
        break;
    }
}

static void launch(struct test_foreign *foreign, const struct test_server *server,
                   const char *program) {
    char script[TEST_PATH_BYTES], text[TEST_SERVER_URL_BYTES];
    const char *words[10] = {"-B", script}, *source_dir = getenv("WEIR_SOURCE_DIR");
    REQUIRE(source_dir);
    snprintf(script, sizeof script, "%s/tests/support/foreign.py", source_dir);
    place(server, words + 2, text);
    int in[2], out[2];
    // A socket to write to: where the client is gone, that is an error and no signal.
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0);
    REQUIRE(pipe2(out, O_CLOEXEC) == 0);
    foreign->child = test_child_start(&(struct test_child_args){
        .program = program,
        .arguments = words,
        .in_fd = in[0],
        .out_fd = out[1],
        .err_fd = STDERR_FILENO,
    });
    close(in[0]);
    close(out[1]);
    foreign->in_fd = in[1];
    foreign->out_fd = out[0];
}

struct test_foreign *test_foreign_start(const struct test_server *server) {
    char path[TEST_PATH_BYTES];
    const char *program = python(path);
    if (!program) {
        return NULL;
    }
    struct test_foreign *foreign = calloc(1, sizeof *foreign);
    REQUIRE(foreign);
    foreign->name = test_server_name(test_server_kind_of(server));
    launch(foreign, server, program);
    json_t *greeting = read_line(foreign);
    bool is_there = json_object_get(greeting, "value");
    if (!is_there && program != path) {
        fail_msg("%s has no module %s: ./dev test installs it", program,
                 json_string_value(json_object_get(greeting, "missing")));
    }
    json_decref(greeting);
    if (!is_there) {
        test_foreign_stop(foreign);
        return NULL;
    }
    return foreign;
}

void test_foreign_stop(struct test_foreign *foreign) {
    if (!foreign) {
        return;
    }
    close(foreign->in_fd);
    int status = test_child_await(foreign->child);
    close(foreign->out_fd);
    free(foreign->buffer);
    free(foreign);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// ---- requests ----

json_t *test_foreign_try(struct test_foreign *foreign, json_t *request, const char **ret_error) {
    REQUIRE(request);
    send_line(foreign, request);
    json_decref(request);
    json_t *answer = read_line(foreign);
    json_t *value = json_incref(json_object_get(answer, "value"));
    const char *error = json_string_value(json_object_get(answer, "error"));
    snprintf(foreign->error, sizeof foreign->error, "%s", error ? error : "");
    *ret_error = foreign->error;
    json_decref(answer);
    REQUIRE(value || error);
    return value;
}

json_t *test_foreign_call(struct test_foreign *foreign, json_t *request) {
    char *shown = json_dumps(request, JSON_COMPACT);
    const char *error;
    json_t *value = test_foreign_try(foreign, request, &error);
    if (!value) {
        fail_msg("%s answers %.500s with: %s", foreign->name, shown, error);
    }
    free(shown);
    return value;
}

static json_t *array_of(size_t count, const struct weir_str items[]) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(array, items[i].data ? test_json_bytes(items[i]) : json_null());
    }
    return array;
}

json_t *test_foreign_redis(struct test_foreign *foreign, size_t count,
                           const struct weir_str arguments[]) {
    return test_foreign_call(
        foreign, json_pack("{s:s, s:o}", "op", "command", "arguments", array_of(count, arguments)));
}

json_t *test_foreign_redis_words(struct test_foreign *foreign, const char *const *words) {
    struct weir_str arguments[TEST_CHILD_ARGUMENTS_MAX];
    size_t count = 0;
    for (; words[count]; count++) {
        REQUIRE(count < COUNT_OF(arguments));
        arguments[count] = weir_str_of(words[count]);
    }
    return test_foreign_redis(foreign, count, arguments);
}

json_t *test_foreign_sql(struct test_foreign *foreign, const char *sql, size_t count,
                         const struct weir_str parameters[]) {
    return test_foreign_call(foreign, json_pack("{s:s, s:s, s:o}", "op", "sql", "sql", sql,
                                                "parameters", array_of(count, parameters)));
}

static uint64_t number_of(json_t *value) {
    REQUIRE(json_is_integer(value));
    uint64_t number = (uint64_t)json_integer_value(value);
    json_decref(value);
    return number;
}

uint64_t test_foreign_kv_put(struct test_foreign *foreign, const char *bucket, const char *key,
                             struct weir_str value) {
    return number_of(
        test_foreign_call(foreign, json_pack("{s:s, s:s, s:s, s:o}", "op", "kv_put", "bucket",
                                             bucket, "key", key, "value", test_json_bytes(value))));
}

static void call_on_key(struct test_foreign *foreign, const char *op, const char *bucket,
                        const char *key) {
    json_decref(test_foreign_call(
        foreign, json_pack("{s:s, s:s, s:s}", "op", op, "bucket", bucket, "key", key)));
}

void test_foreign_kv_delete(struct test_foreign *foreign, const char *bucket, const char *key) {
    call_on_key(foreign, "kv_delete", bucket, key);
}

void test_foreign_kv_purge(struct test_foreign *foreign, const char *bucket, const char *key) {
    call_on_key(foreign, "kv_purge", bucket, key);
}

uint64_t test_foreign_publish(struct test_foreign *foreign, const char *subject,
                              struct weir_str payload) {
    return number_of(
        test_foreign_call(foreign, json_pack("{s:s, s:s, s:o}", "op", "publish", "subject", subject,
                                             "payload", test_json_bytes(payload))));
}
