// SPDX-License-Identifier: Apache-2.0
//
// The control socket: what is asked and answered, and everybody who does not behave. The flow
// behind it is a fake whose functions are put in the real ones' place by the linker, so that a
// status is as large as a test wants it and a dead letter is there when a test says so.
#include "unit/test.h"

#include "control/control.h"
#include "flow/flow.h"
#include "support/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

// ---- the flow ----

// What the fake does. Only what tests and the control thread share is atomic.
static struct {
    atomic_uint subscriptions; // that a look tells of
    atomic_bool is_tapped, is_failing;
    atomic_uint undead_calls;
    atomic_bool again;
} fake;

// The flow is never looked into.
static struct weir_flow *const flow = (struct weir_flow *)(uintptr_t)&fake;

weir_status __wrap_weir_flow_look(struct weir_flow *of, const struct weir_status_calls *calls,
                                  struct weir_error *err);
weir_status __wrap_weir_flow_tally(struct weir_flow *of,
                                   void (*each)(void *context, const char *name,
                                                const struct weir_subscription_counts *counts),
                                   void *context, struct weir_error *err);
void __wrap_weir_flow_tap(struct weir_flow *of, bool is_on);
weir_status __wrap_weir_flow_undead(struct weir_flow *of, uint64_t id, bool again,
                                    struct weir_error *err);

static const struct weir_progress progress_none;

// Of what has taken two seconds so far.
static struct weir_progress progress_half(void) {
    return (struct weir_progress){.what = "snapshot",
                                  .done = 50,
                                  .total = 100,
                                  .began_ns = weir_clock_monotonic_ns() - 2 * WEIR_NS_PER_S};
}

weir_status __wrap_weir_flow_look(struct weir_flow *of, const struct weir_status_calls *calls,
                                  struct weir_error *err) {
    (void)err;
    REQUIRE(of == flow);
    bool is_failing = atomic_load(&fake.is_failing);
    if (calls->flow) {
        calls->flow(calls->context,
                    &(struct weir_flow_status){.is_state_failing = is_failing,
                                               .state_error = is_failing ? "full" : "",
                                               .state_failing_since_wall_ns = 1,
                                               .commits = 7,
                                               .queued_bytes = 5,
                                               .queued_bytes_max = 10});
    }
    for (unsigned i = 0; i < atomic_load(&fake.subscriptions); i++) {
        char name[32];
        snprintf(name, sizeof name, "sub-%u", i);
        calls->subscription(calls->context, &(struct weir_subscription_status){
                                                .name = name,
                                                .resource = "store",
                                                .kind = "file",
                                                .guest = "guest",
                                                .handler = "handler",
                                                .to = "",
                                                .key = WEIR_STR("k\xff*"),
                                                .cursor = WEIR_STR("\x01\0\x02"), // UTF-8 by chance
                                                .state = "running",
                                                .counts = {.queued = 2, .behind = 3, .handled = i},
                                                .progress = i ? progress_none : progress_half(),
                                                .oldest_ns = WEIR_NS_PER_S,
                                                .error = i ? "" : "it failed",
                                                .error_wall_ns = 1});
    }
    if (calls->target) {
        calls->target(calls->context,
                      &(struct weir_target_status){
                          .name = "out", .kind = "topic", .waiting = 4, .error = ""});
    }
    if (calls->guest) {
        calls->guest(calls->context,
                     &(struct weir_guest_status){.name = "guest",
                                                 .lane = "core",
                                                 .stats = {.instances_made = 9, .instances = 2},
                                                 .refused = 1});
    }
    if (calls->resource) {
        calls->resource(calls->context,
                        &(struct weir_resource_status){.name = "cache",
                                                       .kind = "redis",
                                                       .health = {.is_known = true,
                                                                  .since_wall_ns = 1,
                                                                  .reconnects = 3,
                                                                  .reason = "refused"}});
    }
    return WEIR_OK;
}

weir_status __wrap_weir_flow_tally(struct weir_flow *of,
                                   void (*each)(void *context, const char *name,
                                                const struct weir_subscription_counts *counts),
                                   void *context, struct weir_error *err) {
    (void)err;
    REQUIRE(of == flow);
    for (unsigned i = 0; i < atomic_load(&fake.subscriptions); i++) {
        char name[32];
        snprintf(name, sizeof name, "sub-%u", i);
        each(context, name, &(struct weir_subscription_counts){.handled = i});
    }
    return WEIR_OK;
}

void __wrap_weir_flow_tap(struct weir_flow *of, bool is_on) {
    REQUIRE(of == flow);
    atomic_store(&fake.is_tapped, is_on);
}

weir_status __wrap_weir_flow_undead(struct weir_flow *of, uint64_t id, bool again,
                                    struct weir_error *err) {
    REQUIRE(of == flow);
    atomic_fetch_add(&fake.undead_calls, 1);
    atomic_store(&fake.again, again);
    return id == 7 ? WEIR_OK : weir_fail(err, WEIR_NOT_FOUND, "there is no dead letter");
}

// ---- the rig ----

struct rig {
    struct test_folder folder;
    char dir[TEST_PATH_BYTES];
    struct weir_control *control;
};

static void rig_start(struct rig *rig, const char *dir) {
    struct weir_error err;
    fake.subscriptions = 2;
    fake.is_tapped = fake.is_failing = false;
    snprintf(rig->dir, sizeof rig->dir, "%s", dir);
    struct weir_control_args args = {.dir = rig->dir};
    assert_int_equal(weir_control_create(&args, &rig->control, &err), WEIR_OK);
    assert_int_equal(weir_control_start(rig->control, flow, &err), WEIR_OK);
}

static struct rig *rig_create(void) {
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    test_folder_init(&rig->folder);
    rig_start(rig, rig->folder.path);
    return rig;
}

static void rig_destroy(struct rig *rig) {
    weir_control_destroy(rig->control);
    assert_false(fake.is_tapped);
    test_folder_finish(&rig->folder);
    free(rig);
}

static struct weir_control_link *connect_link(const struct rig *rig) {
    struct weir_control_link *link;
    struct weir_error err;
    if (weir_control_open(rig->dir, &link, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    return link;
}

// A connection that is nobody's code: a client of its own kind.
static int connect_raw(const struct rig *rig) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int size = snprintf(address.sun_path, sizeof address.sun_path, "%s/control.sock", rig->dir);
    assert_in_range(size, 1, sizeof address.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void send_raw(int fd, const char *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            return; // it has heard enough
        }
        assert_true(sent > 0);
        bytes += sent;
        size -= (size_t)sent;
    }
}

// Reads until the other side ends the connection. `ret_text` is to be freed.
static size_t read_to_end(int fd, char **ret_text) {
    size_t size = 0, room = 65536;
    char *text = malloc(room + 1);
    assert_non_null(text);
    for (ssize_t more; (more = read(fd, text + size, room - size)) != 0;) {
        if (more < 0) {
            assert_int_equal(errno, ECONNRESET);
            break;
        }
        size += (size_t)more;
        if (size == room) {
            room *= 2;
            text = realloc(text, room + 1);
            assert_non_null(text);
        }
    }
    text[size] = '\0';
    *ret_text = text;
    return size;
}

// One line, without its end. `buffer` has room for it.
static void read_line(int fd, char *buffer, size_t size) {
    size_t at = 0;
    for (; at + 1 < size; at++) {
        assert_int_equal(read(fd, buffer + at, 1), 1);
        if (buffer[at] == '\n') {
            break;
        }
    }
    buffer[at] = '\0';
}

static json_t *request_of(const char *command) {
    return json_pack("{s:s}", "command", command);
}

// Asks, and the answer has to be good.
static json_t *ask(struct weir_control_link *link, json_t *request) {
    json_t *answer;
    struct weir_error err;
    if (weir_control_ask(link, request, &answer, &err) != WEIR_OK) {
        fail_msg("%s", err.message);
    }
    return answer;
}

static weir_status ask_badly(struct weir_control_link *link, json_t *request,
                             struct weir_error *err) {
    json_t *answer;
    weir_status status = weir_control_ask(link, request, &answer, err);
    assert_null(answer);
    return status;
}

static void assert_serves(const struct rig *rig) {
    struct weir_control_link *link = connect_link(rig);
    json_t *answer = ask(link, request_of("status"));
    assert_true(json_is_array(json_object_get(answer, "subscriptions")));
    json_decref(answer);
    weir_control_close(link);
}

static void tap(const struct rig *rig, const char *subscription, const char *subject,
                const char *outcome) {
    struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.keyvalue.set"),
        .source = WEIR_STR("/store"),
        .id = WEIR_STR("id"),
        .subject = {.is_some = true, .value = weir_str_of(subject)},
    };
    struct weir_tap_event event = {
        .subscription = subscription,
        .guest = "guest",
        .handler = "handler",
        .event = &fields,
        .attempt = 1,
        .outcome = outcome,
        .reason = "because\n\x1b",
        .took_ns = 1234567,
    };
    weir_control_tap(rig->control, &event);
}

// ---- what is asked ----

static void a_status_has_names_and_numbers(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link = connect_link(rig);
    fake.is_failing = true;
    json_t *answer = ask(link, request_of("status"));
    assert_int_equal(json_integer_value(json_object_get(answer, "pid")), getpid());
    const json_t *database = json_object_get(answer, "state_database");
    assert_true(json_is_true(json_object_get(database, "is_failing")));
    assert_string_equal(json_string_value(json_object_get(database, "error")), "full");
    const json_t *all = json_object_get(answer, "subscriptions");
    assert_int_equal(json_array_size(all), 2);
    const json_t *first = json_array_get(all, 0), *second = json_array_get(all, 1);
    assert_string_equal(json_string_value(json_object_get(first, "name")), "sub-0");
    assert_string_equal(json_string_value(json_object_get(first, "key")), "k\\xff*");
    assert_string_equal(json_string_value(json_object_get(first, "cursor")), "\\x01\\x00\\x02");
    assert_int_equal(json_integer_value(json_object_get(first, "lag_events")), 5);
    assert_int_equal(json_integer_value(json_object_get(first, "oldest_age_ms")), 1000);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(first, "last_error"), "message")),
        "it failed");
    assert_true(json_is_null(json_object_get(second, "last_error")));
    assert_true(json_is_null(json_object_get(second, "to")));
    const json_t *progress = json_object_get(first, "progress");
    assert_string_equal(json_string_value(json_object_get(progress, "what")), "snapshot");
    assert_int_equal(json_integer_value(json_object_get(progress, "done")), 50);
    assert_int_equal(json_integer_value(json_object_get(progress, "total")), 100);
    assert_in_range(json_integer_value(json_object_get(progress, "left_ms")), 2000, TEST_WAIT_MS);
    assert_true(json_is_null(json_object_get(second, "progress")));
    const json_t *queue = json_object_get(answer, "queue");
    assert_int_equal(json_integer_value(json_object_get(queue, "bytes")), 5);
    assert_int_equal(json_integer_value(json_object_get(queue, "bytes_max")), 10);
    const json_t *target = json_array_get(json_object_get(answer, "targets"), 0);
    assert_int_equal(json_integer_value(json_object_get(target, "waiting_events")), 4);
    const json_t *resource = json_array_get(json_object_get(answer, "resources"), 0);
    assert_string_equal(json_string_value(json_object_get(resource, "name")), "cache");
    assert_true(json_is_false(json_object_get(resource, "is_connected")));
    assert_int_equal(json_integer_value(json_object_get(resource, "reconnects_total")), 3);
    assert_string_equal(json_string_value(json_object_get(resource, "since")),
                        "1970-01-01T00:00:00.000000Z");
    assert_string_equal(json_string_value(json_object_get(resource, "error")), "refused");
    json_decref(answer);
    weir_control_close(link);
    rig_destroy(rig);
}

static void a_rate_is_told_soon(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link = connect_link(rig);
    bool is_told = false;
    int64_t until_ns = weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS;
    while (!is_told && weir_clock_monotonic_ns() < until_ns) {
        json_t *answer = ask(link, request_of("status"));
        const json_t *first = json_array_get(json_object_get(answer, "subscriptions"), 0);
        is_told = json_is_real(json_object_get(first, "settled_per_second"));
        json_decref(answer);
        poll(NULL, 0, 10);
    }
    assert_true(is_told);
    weir_control_close(link);
    rig_destroy(rig);
}

static void a_dead_letter_is_given_to_the_flow(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link = connect_link(rig);
    struct weir_error err;
    json_decref(ask(link, json_pack("{s:s, s:i, s:b}", "command", "undead", "id", 7, "again", 1)));
    assert_true(fake.again);
    assert_int_equal(
        ask_badly(link, json_pack("{s:s, s:i, s:b}", "command", "undead", "id", 8, "again", 0),
                  &err),
        WEIR_NOT_FOUND);
    assert_message_has(&err, "no dead letter");
    assert_false(fake.again);
    weir_control_close(link);
    rig_destroy(rig);
}

static void nobody_runs_is_told_as_such(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link;
    struct weir_error err;
    char path[TEST_PATH_BYTES];
    struct stat st;
    assert_int_equal(stat(test_path(&rig->folder, "control.sock", path), &st), 0);
    assert_true(S_ISSOCK(st.st_mode));
    assert_int_equal(st.st_mode & 0777, 0600);
    weir_control_stop(rig->control);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(weir_control_open(rig->dir, &link, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "no weir runs");
    assert_int_equal(weir_control_open("/nonesuch", &link, &err), WEIR_NOT_FOUND);
    rig_destroy(rig);
}

// Such as a weir leaves that was killed.
static void a_stale_socket_is_replaced(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link;
    struct weir_error err;
    weir_control_stop(rig->control);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.80s/control.sock", rig->dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    assert_int_equal(weir_control_open(rig->dir, &link, &err), WEIR_UNAVAILABLE);
    assert_int_equal(weir_control_start(rig->control, flow, &err), WEIR_OK);
    assert_serves(rig);
    rig_destroy(rig);
}

static void a_path_may_be_longer_than_an_address(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    weir_control_destroy(rig->control);
    char dir[TEST_PATH_BYTES];
    static const char name[] = "a-directory-with-a-name-that-is-not-short-at-all-but-allowed";
    snprintf(dir, sizeof dir, "%s/%s", rig->folder.path, name);
    assert_int_equal(mkdir(dir, 0700), 0);
    snprintf(dir + strlen(dir), sizeof dir - strlen(dir), "/%s", name);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_true(strlen(dir) > sizeof((struct sockaddr_un *)0)->sun_path);
    rig_start(rig, dir);
    assert_serves(rig);
    rig_destroy(rig);
}

// ---- who asks badly ----

static void a_mistake_is_answered_and_forgiven(void **state) {
    (void)state;
    static const char *const lines[] = {
        "",
        "{}",
        "[]",
        "null",
        "17",
        "status",
        "{\"command\":7}",
        "{\"command\":\"nonsense\"}",
        "{\"command\":\"status\",\"more\":1}",
        "{\"command\":\"status\",\"command\":\"status\"}",
        "{\"command\":\"undead\"}",
        "{\"command\":\"undead\",\"id\":0,\"again\":true}",
        "{\"command\":\"undead\",\"id\":-1,\"again\":true}",
        "{\"command\":\"undead\",\"id\":1.5,\"again\":true}",
        "{\"command\":\"undead\",\"id\":\"7\",\"again\":true}",
        "{\"command\":\"undead\",\"id\":99999999999999999999,\"again\":true}",
        "{\"command\":\"undead\",\"id\":7,\"again\":1}",
        "{\"command\":\"tail\",\"type\":null}",
        "{\"command\":\"tail\",\"failed\":\"yes\"}",
        "{\"command\":\"tail\",\"key\":\"\\u0000\"}",
        "{\"command\":\"status\"} trailing",
        "{\"command\":\"sta",
        "\xff\xfe",
        "{\"command\":\"\xff\"}",
    };
    struct rig *rig = rig_create();
    int fd = connect_raw(rig);
    unsigned calls = fake.undead_calls;
    char answer[1024];
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        send_raw(fd, lines[i], strlen(lines[i]));
        send_raw(fd, "\n", 1);
        read_line(fd, answer, sizeof answer);
        if (!strstr(answer, "\"status\":\"invalid\"")) {
            fail_msg("%s: %s", lines[i], answer);
        }
    }
    assert_int_equal(fake.undead_calls, calls);
    assert_false(fake.is_tapped);
    static const char good[] = "{\"command\":\"undead\",\"id\":7,\"again\":true}\n";
    send_raw(fd, good, sizeof good - 1);
    read_line(fd, answer, sizeof answer);
    assert_string_equal(answer, "{\"id\":7}");
    close(fd);
    rig_destroy(rig);
}

static void requests_may_come_in_pieces_and_together(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    int fd = connect_raw(rig);
    static const char request[] = "{\"command\":\"undead\",\"id\":7,\"again\":true}\n";
    char answer[1024];
    for (size_t i = 0; i < sizeof request - 1; i++) {
        send_raw(fd, request + i, 1);
    }
    read_line(fd, answer, sizeof answer);
    assert_string_equal(answer, "{\"id\":7}");
    char many[100 * sizeof request];
    size_t size = 0;
    for (size_t i = 0; i < 100; i++) {
        memcpy(many + size, request, sizeof request - 1);
        size += sizeof request - 1;
    }
    send_raw(fd, many, size);
    for (size_t i = 0; i < 100; i++) {
        read_line(fd, answer, sizeof answer);
        assert_string_equal(answer, "{\"id\":7}");
    }
    close(fd);
    rig_destroy(rig);
}

static void a_line_without_end_is_refused(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    int fd = connect_raw(rig);
    static char bytes[1 << 20];
    char *text;
    memset(bytes, ' ', sizeof bytes);
    send_raw(fd, bytes, sizeof bytes);
    assert_true(read_to_end(fd, &text) > 0);
    assert_non_null(strstr(text, "\"status\":\"limit\""));
    free(text);
    close(fd);
    assert_serves(rig);
    rig_destroy(rig);
}

// Random bytes, requests that were changed here and there, and ends in the middle.
static void any_bytes_are_survived(void **state) {
    (void)state;
    static const char *const seeds[] = {
        "{\"command\":\"status\"}\n",
        "{\"command\":\"undead\",\"id\":7,\"again\":true}\n",
        "{\"command\":\"tail\",\"subscription\":\"sub-0\",\"failed\":true}\n",
    };
    struct rig *rig = rig_create();
    unsigned short random[3] = {1, 2, 3};
    size_t fds_before = test_count_fds();
    for (size_t round = 0; round < 1000; round++) {
        char bytes[512];
        size_t size = 0;
        int fd = connect_raw(rig);
        for (long parts = nrand48(random) % 4; parts >= 0; parts--) {
            const char *seed = seeds[nrand48(random) % (long)COUNT_OF(seeds)];
            size_t seed_size = strlen(seed);
            memcpy(bytes + size, seed, seed_size);
            for (long changes = nrand48(random) % 3; changes > 0; changes--) {
                bytes[size + (size_t)nrand48(random) % seed_size] = (char)(nrand48(random) >> 8);
            }
            size += seed_size;
        }
        send_raw(fd, bytes, (size_t)nrand48(random) % (size + 1));
        if (nrand48(random) % 2) {
            shutdown(fd, SHUT_WR);
        }
        close(fd);
    }
    assert_serves(rig);
    WAIT_UNTIL(test_count_fds() == fds_before && !fake.is_tapped);
    rig_destroy(rig);
}

// ---- who takes their time ----

static void fifty_who_say_nothing_harm_nobody(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    int fds[WEIR_CONTROL_CLIENTS_MAX];
    size_t fds_before = test_count_fds();
    char *text;
    for (size_t i = 0; i < 50; i++) {
        fds[i] = connect_raw(rig);
        send_raw(fds[i], "{\"comm", i % 7);
    }
    int64_t begun_ns = weir_clock_monotonic_ns();
    assert_serves(rig);
    assert_true(weir_clock_monotonic_ns() - begun_ns < WEIR_CONTROL_REQUEST_MS * WEIR_NS_PER_MS);
    for (size_t i = 50; i < WEIR_CONTROL_CLIENTS_MAX; i++) {
        fds[i] = connect_raw(rig);
    }
    int late = connect_raw(rig);
    read_to_end(late, &text);
    assert_non_null(strstr(text, "\"status\":\"limit\""));
    free(text);
    close(late);
    // They are sent away when their time is over.
    for (size_t i = 0; i < WEIR_CONTROL_CLIENTS_MAX; i++) {
        read_to_end(fds[i], &text);
        assert_non_null(strstr(text, "no request came in time"));
        free(text);
        close(fds[i]);
    }
    assert_serves(rig);
    WAIT_UNTIL(test_count_fds() == fds_before);
    rig_destroy(rig);
}

static void who_does_not_read_is_given_up_and_harms_nobody(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    static const char request[] = "{\"command\":\"status\"}\n";
    int fds[40];
    char *text;
    fake.subscriptions = 5000; // some MB of status
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        fds[i] = connect_raw(rig);
        send_raw(fds[i], request, sizeof request - 1);
    }
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        struct pollfd fd = {.fd = fds[i], .events = POLLIN};
        assert_int_equal(poll(&fd, 1, TEST_WAIT_MS), 1);
    }
    fake.subscriptions = 1;
    // Their answers wait, and above a bound there are no more of them for anybody.
    struct weir_control_link *link = connect_link(rig);
    json_decref(ask(link, json_pack("{s:s, s:i, s:b}", "command", "undead", "id", 7, "again", 1)));
    weir_control_close(link);
    size_t refused = 0, cut = 0;
    poll(NULL, 0, WEIR_CONTROL_ANSWER_MS + 1000);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        size_t size = read_to_end(fds[i], &text);
        refused += size < 4096 && strstr(text, "\"status\":\"again\"") ? 1 : 0;
        cut += size >= 4096 && text[size - 1] != '\n' ? 1 : 0;
        free(text);
        close(fds[i]);
    }
    assert_true(refused > 0);
    assert_true(cut > 0);
    assert_serves(rig);
    rig_destroy(rig);
}

// ---- who tails ----

static struct weir_control_link *begin_tail(const struct rig *rig, json_t *request) {
    struct weir_control_link *link = connect_link(rig);
    json_t *answer = ask(link, request);
    assert_true(json_is_true(json_object_get(answer, "tailing")));
    json_decref(answer);
    return link;
}

// Waits for the next line.
static json_t *next_line(struct weir_control_link *link) {
    json_t *line;
    weir_status status;
    while ((status = weir_control_next(link, &line, NULL)) == WEIR_AGAIN) {
        struct pollfd fd = {.fd = weir_control_fd(link), .events = POLLIN};
        assert_int_equal(poll(&fd, 1, TEST_WAIT_MS), 1);
    }
    return status == WEIR_OK ? line : NULL;
}

static void assert_next(struct weir_control_link *link, const char *subscription,
                        const char *subject, const char *outcome) {
    json_t *line = next_line(link);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "subscription")), subscription);
    assert_string_equal(json_string_value(json_object_get(line, "subject")), subject);
    assert_string_equal(json_string_value(json_object_get(line, "outcome")), outcome);
    assert_int_equal(json_integer_value(json_object_get(line, "took_ns")), 1234567);
    json_decref(line);
}

static void a_tail_shows_what_it_asks_for(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    tap(rig, "sub-0", "before", "handled"); // nobody looks
    struct weir_control_link *all = begin_tail(rig, request_of("tail"));
    assert_true(fake.is_tapped);
    struct weir_control_link *one =
        begin_tail(rig, json_pack("{s:s, s:s}", "command", "tail", "subscription", "sub-1"));
    struct weir_control_link *failed =
        begin_tail(rig, json_pack("{s:s, s:b}", "command", "tail", "failed", 1));
    struct weir_control_link *keys =
        begin_tail(rig, json_pack("{s:s, s:s, s:s}", "command", "tail", "key", "or", "type",
                                  "dev.weir.keyvalue"));
    tap(rig, "sub-0", "orders/1", "handled");
    tap(rig, "sub-1", "x", "retry");
    tap(rig, "sub-0", "y", "dead");
    assert_next(all, "sub-0", "orders/1", "handled");
    assert_next(all, "sub-1", "x", "retry");
    assert_next(all, "sub-0", "y", "dead");
    assert_next(one, "sub-1", "x", "retry");
    assert_next(failed, "sub-1", "x", "retry");
    assert_next(failed, "sub-0", "y", "dead");
    assert_next(keys, "sub-0", "orders/1", "handled");
    weir_control_close(one);
    weir_control_close(failed);
    weir_control_close(keys);
    // What is under way when weir ends is still told, and then the end.
    tap(rig, "sub-0", "last", "derived");
    weir_control_stop(rig->control);
    assert_false(fake.is_tapped);
    assert_next(all, "sub-0", "last", "derived");
    assert_null(next_line(all));
    weir_control_close(all);
    tap(rig, "sub-0", "after", "handled");
    rig_destroy(rig);
}

static void lines_that_nobody_reads_are_counted(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *link = begin_tail(rig, request_of("tail"));
    enum { EVENTS = 20000 };
    for (size_t i = 0; i < EVENTS; i++) {
        char subject[32];
        snprintf(subject, sizeof subject, "%zu", i);
        tap(rig, "sub-0", subject, "handled");
    }
    // In order, with the hole at its place.
    long long expected = 0, holes = 0;
    while (expected < EVENTS) {
        json_t *line = next_line(link);
        assert_non_null(line);
        const json_t *dropped = json_object_get(line, "dropped");
        if (dropped) {
            expected += json_integer_value(dropped);
            holes++;
        } else {
            const char *subject = json_string_value(json_object_get(line, "subject"));
            assert_int_equal(strtoll(subject, NULL, 10), expected);
            expected++;
        }
        json_decref(line);
    }
    assert_int_equal(expected, EVENTS);
    assert_true(holes > 0);
    assert_serves(rig);
    weir_control_close(link);
    WAIT_UNTIL(!fake.is_tapped);
    rig_destroy(rig);
}

static void more_tails_than_there_may_be_are_refused(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    struct weir_control_link *links[WEIR_CONTROL_TAILS_MAX];
    struct weir_error err;
    for (size_t i = 0; i < WEIR_CONTROL_TAILS_MAX; i++) {
        links[i] = begin_tail(rig, request_of("tail"));
    }
    struct weir_control_link *late = connect_link(rig);
    assert_int_equal(ask_badly(late, request_of("tail"), &err), WEIR_LIMIT);
    for (size_t i = 0; i < WEIR_CONTROL_TAILS_MAX; i++) {
        weir_control_close(links[i]);
    }
    WAIT_UNTIL(!fake.is_tapped);
    json_decref(ask(late, request_of("tail"))); // the same connection may ask again
    weir_control_close(late);
    WAIT_UNTIL(!fake.is_tapped);
    rig_destroy(rig);
}

struct worker {
    const struct rig *rig;
    atomic_bool *is_over;
    pthread_t thread;
};

static void *work(void *argument) {
    struct worker *worker = argument;
    while (!atomic_load(worker->is_over)) {
        tap(worker->rig, "sub-0", "subject", "handled");
    }
    return NULL;
}

// Tails come and go while workers tell what happens, and weir ends in the middle of it.
static void workers_and_tails_at_a_time(void **state) {
    (void)state;
    struct rig *rig = rig_create();
    atomic_bool is_over = false;
    struct worker workers[4];
    for (size_t i = 0; i < COUNT_OF(workers); i++) {
        workers[i] = (struct worker){.rig = rig, .is_over = &is_over};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (size_t round = 0; round < 50; round++) {
        struct weir_control_link *first = begin_tail(rig, request_of("tail"));
        struct weir_control_link *second =
            begin_tail(rig, json_pack("{s:s, s:s}", "command", "tail", "subscription", "nonesuch"));
        for (size_t i = 0; i < 10; i++) {
            json_t *line = next_line(first);
            assert_non_null(line);
            json_decref(line);
        }
        weir_control_close(first);
        weir_control_close(second);
    }
    struct weir_control_link *last = begin_tail(rig, request_of("tail"));
    weir_control_stop(rig->control);
    for (json_t *line; (line = next_line(last));) {
        json_decref(line);
    }
    weir_control_close(last);
    atomic_store(&is_over, true);
    for (size_t i = 0; i < COUNT_OF(workers); i++) {
        pthread_join(workers[i].thread, NULL);
    }
    rig_destroy(rig);
}

static void an_end_in_the_middle_leaves_nothing(void **state) {
    (void)state;
    size_t fds_before = test_count_fds(), threads_before = test_count_threads();
    struct rig *rig = rig_create();
    int fds[3] = {connect_raw(rig), connect_raw(rig), connect_raw(rig)};
    static const char requests[] = "{\"command\":\"tail\"}\n";
    send_raw(fds[0], requests, sizeof requests - 1);
    send_raw(fds[1], "{", 1);
    rig_destroy(rig);
    for (size_t i = 0; i < COUNT_OF(fds); i++) {
        char *text;
        read_to_end(fds[i], &text);
        free(text);
        close(fds[i]);
    }
    assert_int_equal(test_count_fds(), fds_before);
    assert_int_equal(test_count_threads(), threads_before);
    weir_control_destroy(NULL);
    weir_control_stop(NULL);
    weir_control_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_has_names_and_numbers),
        cmocka_unit_test(a_rate_is_told_soon),
        cmocka_unit_test(a_dead_letter_is_given_to_the_flow),
        cmocka_unit_test(nobody_runs_is_told_as_such),
        cmocka_unit_test(a_stale_socket_is_replaced),
        cmocka_unit_test(a_path_may_be_longer_than_an_address),
        cmocka_unit_test(a_mistake_is_answered_and_forgiven),
        cmocka_unit_test(requests_may_come_in_pieces_and_together),
        cmocka_unit_test(a_line_without_end_is_refused),
        cmocka_unit_test(any_bytes_are_survived),
        cmocka_unit_test(fifty_who_say_nothing_harm_nobody),
        cmocka_unit_test(who_does_not_read_is_given_up_and_harms_nobody),
        cmocka_unit_test(a_tail_shows_what_it_asks_for),
        cmocka_unit_test(lines_that_nobody_reads_are_counted),
        cmocka_unit_test(more_tails_than_there_may_be_are_refused),
        cmocka_unit_test(workers_and_tails_at_a_time),
        cmocka_unit_test(an_end_in_the_middle_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
