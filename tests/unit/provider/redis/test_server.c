// SPDX-License-Identifier: Apache-2.0
//
// How the Redis provider meets servers: passwords, TLS, servers that refuse, that are none, that
// say nothing, that answer noise; and what `weir check --connect` is told.
#include "unit/test.h"

#include "provider/redis/redis.h"
#include "support/child.h"
#include "support/redis_rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

// Static: a case that fails leaves it to the program's end.
static struct redis_rig rig;
static const struct weir_limits limits = {.value_bytes_max = 1 << 20, .until_ns = INT64_MAX};

static void begin(const char *config, const char *password) {
    const struct test_server_args args = {.config = config, .password = password};
    redis_rig_init(&rig, &args);
}

static void end(void) {
    redis_rig_finish(&rig);
}

// ---- trying ----

// What a resource with these options answers to a set. The error is filled in, also by open.
static weir_status try_set(const char *options, struct weir_error *err) {
    struct weir_resource *resource = NULL;
    weir_status status = redis_rig_try_open(&rig, "tried", options, &resource, err);
    if (status == WEIR_OK) {
        status = weir_redis_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &limits, err);
    }
    weir_redis_provider.close(resource);
    return status;
}

// What a watch answers, and the health behind it.
static weir_status try_watch(const char *options, struct weir_health *ret_health,
                             struct weir_error *err) {
    struct weir_resource *resource = NULL;
    struct weir_watch *one = NULL;
    assert_int_equal(redis_rig_try_open(&rig, "tried", options, &resource, err), WEIR_OK);
    const struct weir_watch_args args = {.pattern = weir_pattern_of(WEIR_STR("*")),
                                         .sink = test_sink_of(&rig.sink),
                                         .event_bytes_max = 1000};
    weir_status status = weir_redis_provider.watch(resource, &args, &one, err);
    weir_redis_provider.health(resource, ret_health);
    weir_redis_provider.unwatch(one);
    weir_redis_provider.close(resource);
    return status;
}

static char *at_port(char *buffer, size_t size, const char *rest) {
    snprintf(buffer, size, "address=127.0.0.1:%u %s", test_server_port(rig.server), rest);
    return buffer;
}

// ---- passwords ----

static void passwords_are_checked(void **state) {
    (void)state;
    char options[256];
    struct weir_error err;
    struct weir_health health;
    begin(NULL, "secretword");
    setenv("WEIR_TEST_RIGHT", "secretword", 1);
    setenv("WEIR_TEST_WRONG", "nosuchword", 1);
    assert_ok(try_set(at_port(options, sizeof options, "password=env:WEIR_TEST_RIGHT"), &err));
    assert_ok(try_set(at_port(options, sizeof options, "user=default password=env:WEIR_TEST_RIGHT"),
                      &err));
    at_port(options, sizeof options, "password=env:WEIR_TEST_WRONG");
    assert_int_equal(try_set(options, &err), WEIR_DENIED);
    assert_message_has(&err, "WRONGPASS");
    assert_null(strstr(err.message, "nosuchword"));
    assert_int_equal(try_watch(options, &health, &err), WEIR_DENIED);
    assert_false(health.is_connected);
    assert_null(strstr(health.reason, "nosuchword"));
    assert_non_null(strstr(health.reason, "WRONGPASS"));
    assert_int_equal(try_set(at_port(options, sizeof options, ""), &err), WEIR_DENIED);
    assert_message_has(&err, "`password`");
    assert_int_equal(try_set(at_port(options, sizeof options, "password=env:WEIR_TEST_NONE"), &err),
                     WEIR_NOT_FOUND);
    assert_message_has(&err, "WEIR_TEST_NONE");
    end();
}

static void options_that_do_not_go_together_are_refused(void **state) {
    (void)state;
    struct weir_error err;
    begin(NULL, NULL);
    const char *rows[][2] = {
        {"user=u", "password"},
        {"tls=true", "Unix socket"},
        {"tls_ca=/x", "tls: true"},
        {"address=h:1 tls=true tls_cert=/x", "tls_key"},
        {"address=h:1 tls=true tls_ca=/no/such/file", "/no/such/file"},
        {"log=weir:seen:x", "`log`"},
        {"address=h:1:2:3", "`address`"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(try_set(rows[i][0], &err), WEIR_INVALID);
        assert_message_has(&err, rows[i][1]);
    }
    assert_int_equal(try_set("database=99", &err), WEIR_OTHER);
    assert_message_has(&err, "choosing the database");
    end();
}

// ---- servers that refuse ----

static void a_server_that_refuses_says_why(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_value got;
    begin(NULL, NULL);
    redis_rig_open(&rig, "");
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory", "1");
    assert_int_equal(
        weir_redis_provider.set(rig.resource, WEIR_STR("k"), WEIR_STR("v"), &limits, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "maxmemory");
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory", "0");
    redis_rig_do(&rig, "LPUSH", "list", "x");
    assert_int_equal(weir_redis_provider.get(rig.resource, WEIR_STR("list"), &limits, &got, &err),
                     WEIR_INVALID);
    assert_message_has(&err, "WRONGTYPE");
    redis_rig_do(&rig, "SET", "k", "v");
    redis_rig_do(&rig, "CONFIG", "SET", "replica-serve-stale-data", "yes");
    redis_rig_do(&rig, "REPLICAOF", "127.0.0.1", "1");
    assert_int_equal(
        weir_redis_provider.set(rig.resource, WEIR_STR("k"), WEIR_STR("w"), &limits, &err),
        WEIR_UNAVAILABLE);
    assert_message_has(&err, "master");
    assert_ok(weir_redis_provider.get(rig.resource, WEIR_STR("k"), &limits, &got, &err));
    free(got.data);
    end();
}

static void nobody_there_is_said_at_once(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_health health;
    begin(NULL, NULL);
    int64_t began_ns = weir_clock_monotonic_ns();
    assert_int_equal(try_set("address=127.0.0.1:1", &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "127.0.0.1:1");
    assert_int_equal(try_set("address=/no/such/socket", &err), WEIR_UNAVAILABLE);
    assert_int_equal(try_set("address=no.such.host.invalid:1", &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "no.such.host.invalid");
    assert_int_equal(try_watch("address=127.0.0.1:1", &health, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "watching \"*\"");
    assert_in_range(weir_clock_monotonic_ns() - began_ns, 0, 20 * WEIR_NS_PER_S);
    end();
}

// ---- servers that are none ----

// Answers each connection with the same bytes, and then with silence or the end.
struct fake {
    struct weir_str bytes;
    bool closes;
    int fd;
    uint16_t port;
    pthread_t thread;
};

static void *be_fake(void *argument) {
    const struct fake *fake = argument;
    int fds[64], count = 0;
    for (;;) {
        int fd = accept(fake->fd, NULL, NULL);
        if (fd < 0 || count == 64) {
            break;
        }
        char ignored[4096];
        ssize_t got = fake->bytes.size > 0 ? recv(fd, ignored, sizeof ignored, 0) : 0;
        for (size_t at = 0; got >= 0 && at < fake->bytes.size;) {
            ssize_t sent = send(fd, fake->bytes.data + at, fake->bytes.size - at, MSG_NOSIGNAL);
            if (sent <= 0) {
                break;
            }
            at += (size_t)sent;
        }
        if (fake->closes) {
            close(fd);
        } else {
            fds[count++] = fd;
        }
    }
    for (int i = 0; i < count; i++) {
        close(fds[i]);
    }
    return NULL;
}

static void fake_start(struct fake *fake) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    fake->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fake->fd >= 0);
    assert_int_equal(bind(fake->fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fake->fd, 16), 0);
    assert_int_equal(getsockname(fake->fd, (struct sockaddr *)&address, &size), 0);
    fake->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&fake->thread, NULL, be_fake, fake), 0);
}

static void fake_stop(struct fake *fake) {
    shutdown(fake->fd, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->fd);
}

static void what_is_no_redis_is_an_error(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_health health;
    char options[256];
    char *endless = malloc(1 << 20);
    assert_non_null(endless);
    memset(endless, '+', 1 << 20);
    begin(NULL, NULL);
    struct {
        struct weir_str bytes;
        bool closes;
        weir_status status;
    } rows[] = {
        {WEIR_STR("HTTP/1.1 400 Bad Request\r\n\r\n"), true, WEIR_INVALID},
        {WEIR_STR("\x16\x03\x01\x02\x00"), false, WEIR_INVALID},
        {WEIR_STR(""), true, WEIR_UNAVAILABLE},
        {WEIR_STR(""), false, WEIR_UNAVAILABLE}, // silence
        {WEIR_STR("+OK\r\n+PONG\r\n"), false, WEIR_UNAVAILABLE},
        {WEIR_STR("+OK\r\n+PONG\r\n:7\r\n$-1\r\n"), true, WEIR_OK},
        {WEIR_STR("+OK\r\n+PONG\r\n:7\r\n*2147483647\r\n"), false, WEIR_LIMIT},
        {WEIR_STR("+OK\r\n-LOADING Redis is loading\r\n"), true, WEIR_UNAVAILABLE},
        {WEIR_STR("+OK\r\n+PONG\r\n:7\r\n:1\r\n-MOVED 5 10.0.0.1:6379\r\n"), false,
         WEIR_UNSUPPORTED},
        {{endless, 1 << 20}, false, WEIR_INVALID},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct fake fake = {.bytes = rows[i].bytes, .closes = rows[i].closes};
        fake_start(&fake);
        snprintf(options, sizeof options, "address=127.0.0.1:%u timeout=300ms chain=%s", fake.port,
                 i == 8 ? "1h" : "0");
        weir_status status = try_set(options, &err);
        if (status != rows[i].status) {
            fail_msg("%zu: %s: %s", i, weir_status_name(status), err.message);
        }
        // A watch, too, fails within its time, and says so.
        assert_int_not_equal(try_watch(options, &health, &err), WEIR_OK);
        assert_false(health.is_connected);
        fake_stop(&fake);
    }
    free(endless);
    end();
}

// What a server may say, at random: it looks like replies, and is not what was asked for.
static void noise_harms_nobody(void **state) {
    (void)state;
    static const char *const replies[] = {"+OK\r\n",
                                          ":7\r\n",
                                          "$3\r\nabc\r\n",
                                          "$-1\r\n",
                                          "*0\r\n",
                                          "*-1\r\n",
                                          "-ERR x\r\n",
                                          "*2\r\n$1\r\n0\r\n*1\r\n$1\r\nk\r\n",
                                          "*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
                                          "*3\r\n$7\r\nmessage\r\n$1\r\nx\r\n*1\r\n$1\r\nk\r\n",
                                          "*1\r\n*0\r\n",
                                          "$0\r\n\r\n",
                                          "*2\r\n$5\r\n77777\r\n*2\r\n*0\r\n:1\r\n"};
    static const char *const modes[] = {"keys", "log", "streams"};
    unsigned short seed[3] = {4, 5, 6};
    char options[256];
    struct weir_error err;
    struct weir_health health;
    begin(NULL, NULL);
    for (int round = 0; round < 150; round++) {
        char bytes[4096] = "+OK\r\n+PONG\r\n:7\r\n";
        for (int i = 0; i < 30; i++) {
            strcat(bytes, replies[(size_t)nrand48(seed) % COUNT_OF(replies)]);
        }
        struct fake fake = {.bytes = weir_str_of(bytes), .closes = round % 2};
        fake_start(&fake);
        snprintf(options, sizeof options, "address=127.0.0.1:%u timeout=100ms mode=%s", fake.port,
                 modes[round % 3]);
        try_set(options, &err);
        try_watch(options, &health, &err);
        fake_stop(&fake);
    }
    end();
}

// ---- TLS ----

static void run(const struct test_folder *folder, const char *command) {
    test_shell(folder, command);
}

static void make_certificates(const struct test_folder *folder) {
    run(folder,
        "for n in ca other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 "
        "-nodes "
        "-keyout $n.key -out $n.pem -days 2 -subj /CN=$n 2>/dev/null; done && "
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out "
        "s.csr "
        "-subj /CN=server 2>/dev/null && "
        "printf 'subjectAltName=IP:127.0.0.1' > ext && "
        "openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext "
        "-out server.pem 2>/dev/null && "
        "printf 'subjectAltName=DNS:elsewhere.example' > ext && "
        "openssl x509 -req -in s.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext "
        "-out wrong.pem 2>/dev/null && chmod a+r *");
}

// A port that nobody has now.
static uint16_t free_port(void) {
    struct fake fake = {.closes = true};
    fake_start(&fake);
    fake_stop(&fake);
    return fake.port;
}

// The files are read for each connection: one that was renewed is used by an open resource.
static void check_renewal(const struct test_folder *folder, uint16_t port) {
    char options[1024];
    struct weir_error err;
    struct weir_resource *resource = NULL;
    run(folder, "cp other.pem renewed.pem");
    snprintf(options, sizeof options, "address=127.0.0.1:%u tls=true tls_ca=%s/renewed.pem", port,
             folder->path);
    assert_ok(redis_rig_try_open(&rig, "renewed", options, &resource, &err));
    assert_int_equal(weir_redis_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &limits, &err),
                     WEIR_DENIED);
    run(folder, "cp ca.pem renewed.pem");
    assert_ok(weir_redis_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &limits, &err));
    weir_redis_provider.close(resource);
}

static void tls_looks_at_who_answers(void **state) {
    (void)state;
    char openssl[TEST_PATH_BYTES], config[2048], options[1024], value[256 * 1024];
    struct test_folder folder;
    struct weir_error err;
    if (!test_program_find("openssl", openssl)) {
        skip();
    }
    test_folder_init(&folder);
    run(&folder, "chmod a+rx .");
    make_certificates(&folder);
    begin(NULL, NULL);
    uint16_t port = free_port();
    for (int round = 0; round < 2; round++) {
        const char *cert = round == 0 ? "server.pem" : "wrong.pem";
        redis_rig_do(&rig, "CONFIG", "SET", "tls-auth-clients", "optional");
        snprintf(config, sizeof config, "%s/%s", folder.path, cert);
        char key[512], ca[512], number[16];
        snprintf(key, sizeof key, "%s/server.key", folder.path);
        snprintf(ca, sizeof ca, "%s/ca.pem", folder.path);
        snprintf(number, sizeof number, "%u", port);
        redis_rig_do(&rig, "CONFIG", "SET", "tls-key-file", key, "tls-cert-file", config,
                     "tls-ca-cert-file", ca);
        redis_rig_do(&rig, "CONFIG", "SET", "tls-port", number);
        snprintf(options, sizeof options, "address=127.0.0.1:%u tls=true tls_ca=%s/ca.pem", port,
                 folder.path);
        if (round == 1) { // it is for somebody else
            assert_int_equal(try_set(options, &err), WEIR_DENIED);
            assert_message_has(&err, "certificate");
            break;
        }
        assert_ok(try_set(options, &err));
        check_renewal(&folder, port);
        snprintf(options, sizeof options, "address=127.0.0.1:%u tls=true tls_ca=%s/other.pem", port,
                 folder.path);
        assert_int_equal(try_set(options, &err), WEIR_DENIED);
        snprintf(options, sizeof options, "address=127.0.0.1:%u tls=true", port);
        assert_int_equal(try_set(options, &err), WEIR_DENIED);
        snprintf(options, sizeof options, "address=127.0.0.1:%u", port); // not in TLS
        assert_int_not_equal(try_set(options, &err), WEIR_OK);
        snprintf(options, sizeof options, "address=127.0.0.1:%u tls=true tls_ca=%s/ca.pem",
                 test_server_port(rig.server), folder.path); // to a server without
        assert_int_not_equal(try_set(options, &err), WEIR_OK);
        // Values of any size, and a watch.
        snprintf(options, sizeof options,
                 "address=127.0.0.1:%u tls=true tls_ca=%s/ca.pem tls_cert=%s/server.pem "
                 "tls_key=%s/server.key",
                 port, folder.path, folder.path, folder.path);
        redis_rig_open(&rig, options);
        struct weir_watch *one = redis_rig_watch(&rig, &(struct redis_rig_watch){.key = "*"});
        memset(value, 'v', sizeof value - 1);
        value[sizeof value - 1] = '\0';
        for (int i = 0; i < 20; i++) {
            value[0] = (char)('a' + i);
            assert_ok(weir_redis_provider.set(rig.resource, WEIR_STR("large"), weir_str_of(value),
                                              &limits, &err));
            test_sink_expect_set(&rig.sink, "large", value);
        }
        redis_rig_do(&rig, "CLIENT", "KILL", "TYPE", "pubsub");
        redis_rig_do(&rig, "SET", "k", "after");
        test_sink_skip_to_set(&rig.sink, "k", "after");
        weir_redis_provider.unwatch(one);
        weir_redis_provider.close(rig.resource);
        rig.resource = NULL;
    }
    end();
    test_folder_finish(&folder);
}

// ---- examining ----

struct found {
    size_t mistakes, others;
    char text[8192];
};

static void note(void *context, const struct weir_finding *finding) {
    struct found *found = context;
    found->mistakes += finding->is_mistake;
    found->others += !finding->is_mistake;
    size_t used = strlen(found->text);
    snprintf(found->text + used, sizeof found->text - used, "%s|%s\n", finding->what,
             finding->remedy ? finding->remedy : "");
}

static struct found examine(const char *options, const char *key) {
    struct found found = {.mistakes = 0};
    struct weir_error err;
    struct weir_resource *resource;
    const struct weir_findings findings = {.tell = note, .context = &found};
    const struct weir_pattern pattern = weir_pattern_of(weir_str_of(key));
    assert_ok(redis_rig_try_open(&rig, "tried", options, &resource, &err));
    assert_ok(weir_redis_provider.examine(resource, &pattern, 1, &findings, &err));
    weir_redis_provider.close(resource);
    return found;
}

static void an_examination_finds_what_is_missing_and_changes_nothing(void **state) {
    (void)state;
    static const char *const modes[] = {"mode=keys", "mode=log", "mode=streams"};
    char options[256];
    struct found found;
    begin(NULL, NULL);
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        found = examine(modes[i], "orders:*");
        if (found.mistakes > 0) {
            fail_msg("%s: %s", modes[i], found.text);
        }
    }
    assert_int_equal(REDIS_RIG_NUMBER(&rig, "DBSIZE"), 0);
    redis_rig_do(&rig, "ACL", "SETUSER", "bob", "on", ">pw", "~orders:*", "+get", "+getrange",
                 "+scan", "+ping");
    setenv("WEIR_TEST_BOB", "pw", 1);
    for (size_t i = 0; i < COUNT_OF(modes); i++) {
        snprintf(options, sizeof options, "user=bob password=env:WEIR_TEST_BOB %s", modes[i]);
        found = examine(options, "orders:*");
        assert_true(found.mistakes > 0);
        assert_non_null(strstr(found.text, "redis-cli ACL SETUSER bob +"));
        assert_non_null(strstr(found.text, "client\\|tracking"));
    }
    redis_rig_do(&rig, "SET", "orders:text", "v");
    found = examine("mode=streams", "orders:text");
    assert_non_null(strstr(found.text, "is a string, and not a stream"));
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory", "100mb");
    redis_rig_do(&rig, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    redis_rig_do(&rig, "REPLICAOF", "127.0.0.1", "1");
    found = examine("mode=streams", "orders:*");
    assert_non_null(strstr(found.text, "replica"));
    assert_non_null(strstr(found.text, "evicts"));
    end();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_are_checked),
        cmocka_unit_test(options_that_do_not_go_together_are_refused),
        cmocka_unit_test(a_server_that_refuses_says_why),
        cmocka_unit_test(nobody_there_is_said_at_once),
        cmocka_unit_test(what_is_no_redis_is_an_error),
        cmocka_unit_test(noise_harms_nobody),
        cmocka_unit_test(tls_looks_at_who_answers),
        cmocka_unit_test(an_examination_finds_what_is_missing_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
