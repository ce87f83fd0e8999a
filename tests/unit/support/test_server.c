// SPDX-License-Identifier: Apache-2.0
//
// That the servers which other tests stand on do what those rely on, seen by somebody else's
// clients.
#include "unit/test.h"

#include "support/child.h"
#include "support/foreign.h"
#include "support/server_kind.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// What is not to come is waited for so long.
enum { SILENCE_MS = 200 };
enum { MANY = 1000 };

// ---- a key and a value on each kind ----

static void redis_put(struct test_foreign *foreign, const char *key, struct weir_str value) {
    const struct weir_str arguments[] = {WEIR_STR("SET"), weir_str_of(key), value};
    json_decref(test_foreign_redis(foreign, COUNT_OF(arguments), arguments));
}

static char *redis_get(struct test_foreign *foreign, const char *key, size_t *ret_size) {
    json_t *reply = TEST_FOREIGN_REDIS(foreign, "GET", key);
    char *value = test_json_take(reply, ret_size);
    json_decref(reply);
    return value;
}

static void sql(struct test_foreign *foreign, const char *text) {
    json_decref(test_foreign_sql(foreign, text, 0, NULL));
}

static const char upsert[] = "INSERT INTO t VALUES ($1, $2)"
                             " ON CONFLICT (k) DO UPDATE SET v = excluded.v";
static const char make_table[] = "CREATE TABLE IF NOT EXISTS t (k text PRIMARY KEY, v bytea)";

static void postgres_put(struct test_foreign *foreign, const char *key, struct weir_str value) {
    const struct weir_str parameters[] = {weir_str_of(key), value};
    sql(foreign, make_table);
    json_decref(test_foreign_sql(foreign, upsert, COUNT_OF(parameters), parameters));
}

static char *postgres_get(struct test_foreign *foreign, const char *key, size_t *ret_size) {
    const struct weir_str parameters[] = {weir_str_of(key)};
    sql(foreign, make_table);
    json_t *rows = test_foreign_sql(foreign, "SELECT v FROM t WHERE k = $1", 1, parameters);
    char *value = json_array_size(rows) > 0
                      ? test_json_take(json_array_get(json_array_get(rows, 0), 0), ret_size)
                      : NULL;
    json_decref(rows);
    return value;
}

static void make_bucket(struct test_foreign *foreign) {
    json_decref(
        test_foreign_call(foreign, json_pack("{s:s, s:s}", "op", "kv_create", "bucket", "b")));
}

static void nats_put(struct test_foreign *foreign, const char *key, struct weir_str value) {
    make_bucket(foreign);
    test_foreign_kv_put(foreign, "b", key, value);
}

static char *nats_get(struct test_foreign *foreign, const char *key, size_t *ret_size) {
    make_bucket(foreign);
    json_t *reply = test_foreign_call(
        foreign, json_pack("{s:s, s:s, s:s}", "op", "kv_get", "bucket", "b", "key", key));
    char *value = test_json_take(reply, ret_size);
    json_decref(reply);
    return value;
}

static const struct {
    void (*put)(struct test_foreign *foreign, const char *key, struct weir_str value);
    char *(*get)(struct test_foreign *foreign, const char *key, size_t *ret_size);
} access_by[TEST_SERVER_KINDS] = {
    [TEST_REDIS] = {redis_put, redis_get},
    [TEST_POSTGRES] = {postgres_put, postgres_get},
    [TEST_NATS] = {nats_put, nats_get},
};

// What is one of many in a request.
static json_t *one_of_many(enum test_server_kind kind, const char *key, struct weir_str value) {
    char subject[64];
    snprintf(subject, sizeof subject, "$KV.b.%s", key);
    switch (kind) {
    case TEST_REDIS:
        return json_pack("[o, o, o]", test_json_bytes(WEIR_STR("SET")),
                         test_json_bytes(weir_str_of(key)), test_json_bytes(value));
    case TEST_POSTGRES:
        return json_pack("[o, o]", test_json_bytes(weir_str_of(key)), test_json_bytes(value));
    default:
        return json_pack("{s:s, s:o}", "subject", subject, "payload", test_json_bytes(value));
    }
}

// ---- the server that the tests of one kind share ----

static struct {
    enum test_server_kind kind;
    struct test_server *server;
    struct test_foreign *foreign;
} shared;

static int setup(void **state) {
    (void)state;
    shared.server = test_server_start(shared.kind, NULL);
    shared.foreign = shared.server ? test_foreign_start(shared.server) : NULL;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    test_foreign_stop(shared.foreign);
    test_server_stop(shared.server);
    return 0;
}

static struct test_server *server_or_skip(void) {
    if (!shared.server || !shared.foreign) {
        skip();
    }
    return shared.server;
}

static void put(const char *key, struct weir_str value) {
    access_by[shared.kind].put(shared.foreign, key, value);
}

// Fails the test if the key has another value; a view whose data is NULL: if it has one.
static void check(const char *key, struct weir_str wanted) {
    size_t size = 0;
    char *value = access_by[shared.kind].get(shared.foreign, key, &size);
    if (!wanted.data) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(size, wanted.size);
    assert_memory_equal(value, wanted.data, size);
    free(value);
}

// ---- the tests ----

// What a server that wants a password says to somebody who gives none, and another one does not.
static bool wants_a_password(const struct test_server *server) {
    static const struct {
        struct weir_str question, answer;
        size_t at;
    } cases[TEST_SERVER_KINDS] = {
        [TEST_REDIS] = {{"PING\r\n", 6}, {"-NOAUTH", 7}, 0},
        // A start without TLS; it names the method, 10 for SASL.
        [TEST_POSTGRES] = {{"\0\0\0\x13\0\3\0\0user\0weir\0", 19}, {"\0\0\0\n", 4}, 5},
        [TEST_NATS] = {{"", 0}, {"\"auth_required\":true", 20}, 0},
    };
    enum test_server_kind kind = test_server_kind_of(server);
    struct weir_str wanted = cases[kind].answer;
    char answer[2048];
    assert_true(test_server_ask(server, cases[kind].question, answer, sizeof answer));
    return kind == TEST_NATS ? strstr(answer, wanted.data) != NULL
                             : memcmp(answer + cases[kind].at, wanted.data, wanted.size) == 0;
}

static void somebody_else_writes_and_reads(void **state) {
    (void)state;
    struct test_server *server = server_or_skip();
    put("any-bytes", WEIR_STR("a\0b\xff\n\"\\"));
    check("any-bytes", WEIR_STR("a\0b\xff\n\"\\"));
    put("one", WEIR_STR("x"));
    check("one", WEIR_STR("x"));
    check("never-written", (struct weir_str){0});
    assert_true(test_server_answers(server, TEST_WAIT_MS));
    assert_false(wants_a_password(server));
}

static void what_fails_is_told(void **state) {
    (void)state;
    server_or_skip();
    static const char *const errors[TEST_SERVER_KINDS] = {
        [TEST_REDIS] = "no op", [TEST_POSTGRES] = "syntax error", [TEST_NATS] = "no op"};
    const char *error;
    json_t *request = shared.kind == TEST_POSTGRES
                          ? json_pack("{s:s, s:s}", "op", "sql", "sql", "SELEKT")
                          : json_pack("{s:s}", "op", "nothing");
    assert_null(test_foreign_try(shared.foreign, request, &error));
    if (!strstr(error, errors[shared.kind])) {
        fail_msg("\"%s\" does not say \"%s\"", error, errors[shared.kind]);
    }
    put("after-a-failure", WEIR_STR("x"));
    check("after-a-failure", WEIR_STR("x"));
}

// Many at a time, of which each is told.
static void many_are_written_at_once(void **state) {
    (void)state;
    server_or_skip();
    const char *op = (const char *const[]){"commands", "sql_many", "publish_many"}[shared.kind];
    const char *name = (const char *const[]){"commands", "parameters", "messages"}[shared.kind];
    json_t *many = json_array(), *request = json_pack("{s:s, s:o}", "op", op, name, many);
    put("many-0", WEIR_STR("before")); // a table, a bucket
    for (unsigned i = 0; i < MANY; i++) {
        char key[32];
        snprintf(key, sizeof key, "many-%u", i);
        json_array_append_new(many, one_of_many(shared.kind, key, weir_str_of(key)));
    }
    if (shared.kind == TEST_POSTGRES) {
        json_object_set_new(request, "sql", json_string(upsert));
    }
    json_t *told = test_foreign_call(shared.foreign, request);
    assert_int_equal(json_array_size(told), shared.kind == TEST_POSTGRES ? 0 : MANY);
    json_decref(told);
    check("many-0", WEIR_STR("many-0"));
    check("many-999", WEIR_STR("many-999"));
}

static void a_killed_server_comes_back_with_what_it_confirmed(void **state) {
    (void)state;
    struct test_server *server = server_or_skip();
    uint16_t port = test_server_port(server);
    pid_t pid = test_server_pid(server);
    put("killed", WEIR_STR("before"));
    test_server_kill(server);
    assert_int_equal(test_server_pid(server), 0);
    assert_int_equal(test_process_state(pid), 0);
    assert_false(test_server_answers(server, SILENCE_MS));
    test_server_restart(server);
    assert_int_equal(test_server_port(server), port);
    assert_int_not_equal(test_server_pid(server), pid);
    check("killed", WEIR_STR("before"));
    put("killed", WEIR_STR("after"));
    check("killed", WEIR_STR("after"));
}

static void a_restarted_server_has_its_data(void **state) {
    (void)state;
    struct test_server *server = server_or_skip();
    uint16_t port = test_server_port(server);
    pid_t pid = test_server_pid(server);
    put("restarted", WEIR_STR("before"));
    test_server_restart(server);
    assert_int_equal(test_process_state(pid), 0);
    assert_int_equal(test_server_port(server), port);
    check("restarted", WEIR_STR("before"));
    test_server_halt(server);
    assert_false(test_server_answers(server, SILENCE_MS));
    test_server_restart(server);
    check("restarted", WEIR_STR("before"));
}

static void a_wiped_server_has_nothing(void **state) {
    (void)state;
    struct test_server *server = server_or_skip();
    uint16_t port = test_server_port(server);
    put("wiped", WEIR_STR("before"));
    test_server_wipe(server);
    assert_int_equal(test_server_port(server), port);
    check("wiped", (struct weir_str){0});
    put("wiped", WEIR_STR("after"));
    check("wiped", WEIR_STR("after"));
}

static void a_paused_server_keeps_silent_until_it_goes_on(void **state) {
    (void)state;
    struct test_server *server = server_or_skip();
    put("paused", WEIR_STR("before")); // a connection, for which PostgreSQL has a process
    test_server_pause(server);
    pid_t children[TEST_CHILD_CHILDREN_MAX];
    size_t count = test_process_children(test_server_pid(server), children);
    assert_true(shared.kind != TEST_POSTGRES || count > 1);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(test_process_state(children[i]), 'T');
    }
    assert_false(test_server_answers(server, SILENCE_MS));
    test_server_continue(server);
    assert_true(test_server_answers(server, TEST_WAIT_MS));
    check("paused", WEIR_STR("before"));
    // It can be killed and stopped in order while it stands still.
    test_server_pause(server);
    test_server_restart(server);
    test_server_pause(server);
    test_server_kill(server);
    test_server_restart(server);
    check("paused", WEIR_STR("before"));
}

static void its_log_is_at_hand(void **state) {
    (void)state;
    static const char *const words[TEST_SERVER_KINDS] = {
        [TEST_REDIS] = "Ready to accept connections",
        [TEST_POSTGRES] = "database system is ready",
        [TEST_NATS] = "Server is ready",
    };
    struct test_server *server = server_or_skip();
    if (!strstr(test_server_log_tail(server), words[shared.kind])) {
        fail_msg("no \"%s\" in:\n%s", words[shared.kind], test_server_log_tail(server));
    }
}

// ---- what is of one kind ----

static void a_command_line_client_writes(void **state) {
    (void)state;
    struct test_server *server = test_server_start(TEST_REDIS, NULL);
    if (!server) {
        skip();
    }
    const char *const set[] = {"-x", "SET", "key", NULL};
    free(test_server_cli(server, WEIR_STR("a\0b"), set));
    char *length = TEST_SERVER_CLI(server, "STRLEN", "key");
    assert_string_equal(length, "3\n");
    free(length);
    test_server_stop(server);

    server = test_server_start(TEST_POSTGRES, NULL);
    if (!server) {
        skip();
    }
    const char *const script[] = {"-f", "-", NULL};
    free(test_server_cli(server, WEIR_STR("CREATE TABLE c (n int);\nINSERT INTO c VALUES (42);"),
                         script));
    char *row = TEST_SERVER_CLI(server, "-c", "SELECT n FROM c");
    assert_string_equal(row, "42\n");
    free(row);
    row = TEST_SERVER_CLI(server, "-c", "SHOW wal_level");
    assert_string_equal(row, "logical\n");
    free(row);
    test_server_stop(server);
}

static void a_password_is_asked_for(void **state) {
    (void)state;
    for (shared.kind = 0; shared.kind < TEST_SERVER_KINDS; shared.kind++) {
        shared.server =
            test_server_start(shared.kind, &(struct test_server_args){.password = "secret"});
        shared.foreign = shared.server ? test_foreign_start(shared.server) : NULL;
        if (!shared.foreign) {
            test_server_stop(shared.server);
            skip();
        }
        struct test_server *server = shared.server;
        char url[TEST_SERVER_URL_BYTES];
        assert_non_null(strstr(test_server_url(server, url), "secret@127.0.0.1:"));
        assert_true(wants_a_password(server));
        put("key", WEIR_STR("x"));
        check("key", WEIR_STR("x"));
        test_foreign_stop(shared.foreign);
        test_server_stop(server);
    }
}

static void redis_may_keep_nothing(void **state) {
    (void)state;
    struct test_server *server =
        test_server_start(TEST_REDIS, &(struct test_server_args){.keep = TEST_KEEPS_NOTHING,
                                                                 .config = "maxmemory 64mb"});
    if (!server) {
        skip();
    }
    char *memory = TEST_SERVER_CLI(server, "CONFIG", "GET", "maxmemory");
    assert_non_null(strstr(memory, "67108864"));
    free(memory);
    free(TEST_SERVER_CLI(server, "SET", "key", "x"));
    test_server_restart(server);
    char *count = TEST_SERVER_CLI(server, "DBSIZE");
    assert_string_equal(count, "0\n");
    free(count);
    test_server_stop(server);
}

static void postgres_may_flush(void **state) {
    (void)state;
    struct test_server *server =
        test_server_start(TEST_POSTGRES, &(struct test_server_args){.keep = TEST_KEEPS_FLUSHED});
    if (!server) {
        skip();
    }
    char *flushes = TEST_SERVER_CLI(server, "-c", "SHOW fsync");
    assert_string_equal(flushes, "on\n");
    free(flushes);
    test_server_stop(server);
}

// A test program that starts a server, leaves word of it, and dies.
static void start_and_die(enum test_server_kind kind, struct test_server *ret_server) {
    pid_t program = fork();
    assert_true(program >= 0);
    if (program == 0) {
        const struct test_server *server = test_server_start(kind, NULL);
        if (server) {
            *ret_server = *server;
        }
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(program, NULL, 0), program);
}

static void a_server_ends_with_its_test(void **state) {
    (void)state;
    struct test_server *left =
        mmap(NULL, sizeof *left, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(left, MAP_FAILED);
    for (enum test_server_kind kind = 0; kind < TEST_SERVER_KINDS; kind++) {
        left->pid = 0;
        start_and_die(kind, left);
        if (!left->pid) {
            skip();
        }
        // Nobody may be there to reap it.
        WAIT_UNTIL(test_process_state(left->pid) == 0 || test_process_state(left->pid) == 'Z');
        if (left->type->clean) {
            left->type->clean(left);
        }
        test_folder_finish(&left->folder);
    }
    munmap(left, sizeof *left);
}

static int run_kind(enum test_server_kind kind) {
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(somebody_else_writes_and_reads),
        cmocka_unit_test(what_fails_is_told),
        cmocka_unit_test(many_are_written_at_once),
        cmocka_unit_test(a_killed_server_comes_back_with_what_it_confirmed),
        cmocka_unit_test(a_restarted_server_has_its_data),
        cmocka_unit_test(a_wiped_server_has_nothing),
        cmocka_unit_test(a_paused_server_keeps_silent_until_it_goes_on),
        cmocka_unit_test(its_log_is_at_hand),
    };
    shared.kind = kind;
    return cmocka_run_group_tests_name(test_server_name(kind), tests, setup, teardown);
}

int main(void) {
    static const struct CMUnitTest others[] = {
        cmocka_unit_test(a_command_line_client_writes), cmocka_unit_test(a_password_is_asked_for),
        cmocka_unit_test(redis_may_keep_nothing),       cmocka_unit_test(postgres_may_flush),
        cmocka_unit_test(a_server_ends_with_its_test),
    };
    int failed = 0;
    for (enum test_server_kind kind = 0; kind < TEST_SERVER_KINDS; kind++) {
        failed += run_kind(kind);
    }
    return failed + cmocka_run_group_tests(others, NULL, NULL);
}
