// SPDX-License-Identifier: Apache-2.0
//
// See server.h: what all kinds of servers have in common. The test's main thread only.
#include "support/server_kind.h"

#include "unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Below the range that the system gives to clients, so that nobody is given the port of a server
// that is down for a moment.
enum { PORT_MIN = 20000, PORT_COUNT = 12000, PORT_TRIES_MAX = 1000 };
// Somebody else may be quicker with a port that was free a moment ago.
enum { STARTS_MAX = 3 };
enum { POLL_NS = 2 * WEIR_NS_PER_MS };

static const struct test_server_type *const types[TEST_SERVER_KINDS] = {
    [TEST_REDIS] = &test_server_redis,
    [TEST_POSTGRES] = &test_server_postgres,
    [TEST_NATS] = &test_server_nats,
};

// ---- ports ----

static struct sockaddr_in address_of(uint16_t port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
}

static bool is_free(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    struct sockaddr_in address = address_of(port);
    bool is_bound = bind(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return is_bound;
}

static uint16_t free_port(void) {
    for (unsigned i = 0; i < PORT_TRIES_MAX; i++) {
        uint16_t number;
        REQUIRE(getrandom(&number, sizeof number, 0) == sizeof number);
        uint16_t port = (uint16_t)(PORT_MIN + number % PORT_COUNT);
        if (is_free(port)) {
            return port;
        }
    }
    fail_msg("no free port between %d and %d", PORT_MIN, PORT_MIN + PORT_COUNT);
    return 0;
}

static int connect_to(const struct test_ask *ask) {
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in address = address_of(ask->port);
    if (ask->socket) {
        memcpy(local.sun_path, ask->socket, strlen(ask->socket) + 1);
    }
    int fd = socket(ask->socket ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    struct timeval wait = {
        .tv_sec = ask->wait_ms / 1000,
        .tv_usec = (suseconds_t)(ask->wait_ms % 1000) * 1000,
    };
    // The first counts for connect as well.
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    int code = ask->socket ? connect(fd, (struct sockaddr *)&local, sizeof local)
                           : connect(fd, (struct sockaddr *)&address, sizeof address);
    if (code == 0) {
        return fd;
    }
    close(fd);
    return -1;
}

bool test_ask(const struct test_ask *ask, char *ret_answer, size_t size) {
    int fd = connect_to(ask);
    if (fd < 0) {
        return false;
    }
    ssize_t got = -1;
    if (send(fd, ask->question.data, ask->question.size, MSG_NOSIGNAL) ==
        (ssize_t)ask->question.size) {
        got = recv(fd, ret_answer, size - 1, 0);
    }
    close(fd);
    if (got > 0) {
        ret_answer[got] = '\0';
    }
    return got > 0;
}

bool test_server_ask(const struct test_server *server, struct weir_str question, char *ret_answer,
                     size_t size) {
    struct test_ask ask = {.port = server->port, .question = question, .wait_ms = TEST_WAIT_MS};
    return test_ask(&ask, ret_answer, size);
}

bool test_server_answers(const struct test_server *server, unsigned wait_ms) {
    struct test_ask ask = {
        .port = server->port,
        .question = server->type->question,
        .wait_ms = wait_ms,
    };
    char answer[64];
    if (!test_ask(&ask, answer, sizeof answer)) {
        return false;
    }
    for (const char *const *begin = server->type->answers; *begin; begin++) {
        if (strncmp(answer, *begin, strlen(*begin)) == 0) {
            return true;
        }
    }
    return false;
}

// ---- the log ----

static int open_log(const struct test_server *server, int flags) {
    char path[TEST_PATH_BYTES];
    return open(test_path(&server->folder, "log", path), flags | O_CREAT | O_CLOEXEC, 0600);
}

const char *test_server_log_tail(struct test_server *server) {
    server->tail[0] = '\0';
    int fd = open_log(server, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        return server->tail;
    }
    off_t from =
        st.st_size > TEST_SERVER_LOG_TAIL_BYTES ? st.st_size - TEST_SERVER_LOG_TAIL_BYTES : 0;
    ssize_t size = pread(fd, server->tail, TEST_SERVER_LOG_TAIL_BYTES, from);
    close(fd);
    server->tail[size > 0 ? size : 0] = '\0';
    return server->tail;
}

// ---- start and end ----

static void launch(struct test_server *server) {
    const char *arguments[8] = {NULL};
    char text[TEST_SERVER_TEXT_BYTES];
    server->type->configure(server);
    server->type->arguments(server, arguments, text);
    int log = open_log(server, O_WRONLY | O_APPEND);
    REQUIRE(log > 0);
    server->pid = test_child_start(&(struct test_child_args){
        .program = server->program,
        .arguments = arguments,
        .out_fd = log,
        .err_fd = log,
        .is_never_root = server->type->is_never_root,
    });
    close(log);
}

// Waits until it is ready; false: it has ended.
static bool await_ready(struct test_server *server) {
    int64_t until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS;
    while (!server->type->is_ready(server)) {
        if (waitpid(server->pid, NULL, WNOHANG) != 0) {
            server->pid = 0;
            return false;
        }
        if (weir_clock_monotonic_ns() > until_ns) {
            fail_msg("%s is not ready within %d ms; the end of its log:\n%s", server->program,
                     TEST_WAIT_MS, test_server_log_tail(server));
        }
        nanosleep(&(struct timespec){.tv_nsec = POLL_NS}, NULL);
    }
    return true;
}

static void start(struct test_server *server) {
    for (unsigned i = 0; i < STARTS_MAX; i++) {
        if (!server->was_ready) {
            server->port = free_port();
        }
        launch(server);
        if (await_ready(server)) {
            if (server->is_new && server->type->begin) {
                server->type->begin(server);
            }
            server->is_new = false;
            server->was_ready = true;
            return;
        }
    }
    fail_msg("%s ends as soon as it is started; the end of its log:\n%s", server->program,
             test_server_log_tail(server));
}

static void start_new(struct test_server *server) {
    server->is_new = true;
    if (server->type->prepare) {
        server->type->prepare(server);
    }
    start(server);
}

static char *copy(const char *text) {
    char *made = text ? strdup(text) : NULL;
    REQUIRE(made || !text);
    return made;
}

struct test_server *test_server_start(enum test_server_kind kind,
                                      const struct test_server_args *args) {
    static const struct test_server_args nothing_special;
    args = args ? args : &nothing_special;
    char program[TEST_PATH_BYTES];
    if (!test_program_find(types[kind]->program, program)) {
        return NULL;
    }
    struct test_server *server = calloc(1, sizeof *server);
    REQUIRE(server);
    server->type = types[kind];
    server->kind = kind;
    server->keep = args->keep;
    server->password = copy(args->password);
    server->config = copy(args->config);
    memcpy(server->program, program, sizeof program);
    if (args->keep == TEST_KEEPS_FLUSHED) {
        test_folder_init(&server->folder);
    } else {
        test_folder_init_quick(&server->folder);
    }
    test_path(&server->folder, "data", server->data.path);
    start_new(server);
    return server;
}

void test_server_kill(struct test_server *server) {
    if (server->pid) {
        test_process_kill(server->pid);
        server->pid = 0;
        if (server->type->clean) {
            server->type->clean(server);
        }
    }
}

void test_server_stop(struct test_server *server) {
    if (!server) {
        return;
    }
    test_server_kill(server); // nobody wants its data any more
    test_folder_finish(&server->folder);
    free(server->password);
    free(server->config);
    free(server);
}

void test_server_halt(struct test_server *server) {
    if (server->pid) {
        test_process_continue(server->pid);
        kill(server->pid, server->type->stop_signal);
        test_child_await(server->pid);
        server->pid = 0;
    }
}

void test_server_restart(struct test_server *server) {
    test_server_halt(server);
    start(server);
}

void test_server_wipe(struct test_server *server) {
    test_server_kill(server);
    test_folder_finish(&server->data);
    start_new(server);
}

void test_server_pause(struct test_server *server) {
    REQUIRE(server->pid);
    test_process_pause(server->pid);
}

void test_server_continue(struct test_server *server) {
    REQUIRE(server->pid);
    test_process_continue(server->pid);
}

// ---- what it is ----

enum test_server_kind test_server_kind_of(const struct test_server *server) {
    return server->kind;
}

const char *test_server_name(enum test_server_kind kind) {
    return types[kind]->name;
}

uint16_t test_server_port(const struct test_server *server) {
    return server->port;
}

pid_t test_server_pid(const struct test_server *server) {
    return server->pid;
}

const char *test_server_password(const struct test_server *server) {
    return server->password;
}

const char *test_server_socket(const struct test_server *server) {
    return server->socket[0] ? server->socket : NULL;
}

const char *test_server_url(const struct test_server *server,
                            char ret_url[static TEST_SERVER_URL_BYTES]) {
    const char *password = server->password;
    int size = snprintf(
        ret_url, TEST_SERVER_URL_BYTES, "%s://%s%s%s%s127.0.0.1:%u%s", server->type->scheme,
        server->type->user, password ? server->type->before_password : "", password ? password : "",
        password || server->type->user[0] ? "@" : "", server->port, server->type->path);
    REQUIRE(size < TEST_SERVER_URL_BYTES);
    return ret_url;
}

// ---- its own client ----

char *test_server_cli(struct test_server *server, struct weir_str input,
                      const char *const *arguments) {
    const struct test_server_type *type = server->type;
    char program[TEST_PATH_BYTES], text[TEST_SERVER_TEXT_BYTES];
    const char *words[TEST_CHILD_ARGUMENTS_MAX] = {NULL};
    if (!type->client || !test_program_find(type->client, program)) {
        fail_msg("there is no command line client of %s: foreign.h has another", type->name);
    }
    size_t count = type->client_arguments(server, words, text);
    for (; *arguments; arguments++) {
        REQUIRE(count < COUNT_OF(words) - 1);
        words[count++] = *arguments;
    }
    struct test_run run;
    test_run_init(&run, &(struct test_child_args){.program = program, .arguments = words}, input);
    if (!test_run_is_good(&run)) {
        fail_msg("%s %s … ended with status 0x%x\n%s%s", program, words[count - 1],
                 (unsigned)run.status, run.out, run.err);
    }
    char *out = run.out;
    run.out = NULL;
    test_run_finish(&run);
    return out;
}
