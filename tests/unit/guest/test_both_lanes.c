// SPDX-License-Identifier: Apache-2.0
//
// The same guests as components in both lanes: their main module in the core lane, and the whole of
// them in the component lane. Every answer, error, bound and printed byte is compared, and what the
// guest was to answer at all is checked in one of them.
//
// The guests are those of the scenarios (build/guests/NAME.component.wasm); where they were not
// built, the test fails.
#include "guest/guest.h"

#include "base/clock.h"
#include "event/json.h"
#include "unit/guest/small_guest.h"
#include "unit/test.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    PRINTED_BYTES_MAX = 256 * 1024,
    LARGE_BYTES = 512 * 1024, // of a body
};

// ---- what a guest prints

struct printed {
    size_t size;
    char bytes[PRINTED_BYTES_MAX];
};

static bool take_line(void *context, const char *guest, struct weir_str line) {
    struct printed *printed = context;
    (void)guest;
    size_t room = sizeof printed->bytes - 1 - printed->size;
    size_t take = line.size < room ? line.size : room;
    memcpy(printed->bytes + printed->size, line.data, take);
    printed->size += take;
    if (take < room) {
        printed->bytes[printed->size++] = '\n';
    }
    printed->bytes[printed->size] = '\0';
    return true;
}

// ---- a guest in a lane

struct lane {
    const char *name;
    enum weir_guest_lane lane;
    struct printed printed;
    struct weir_guest *guest;
    // Of its last call.
    struct weir_call call;
    struct weir_verdict verdict;
    char *derived; // as JSON; NULL: none
};

static struct lane lanes[] = {
    {.name = "core", .lane = WEIR_GUEST_LANE_CORE},
    {.name = "component", .lane = WEIR_GUEST_LANE_COMPONENT},
};

static const struct weir_guest_host recording_host;

// Of the next guest that is loaded.
static uint64_t args_event_bytes; // 0: as small_guest_args says
static const struct weir_guest_access *args_access;

static void load(const char *name, enum weir_guest_instances instances) {
    char path[4096];
    snprintf(path, sizeof path, "%s/build/guests/%s.component.wasm", getenv("WEIR_SOURCE_DIR"),
             name);
    struct weir_engine *engine = small_guest_engine();
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        struct weir_guest_args args = small_guest_args(name);
        struct weir_error err = {.message = ""};
        const char *reason;
        args.lane = lanes[i].lane;
        args.instances = instances;
        args.output = (struct weir_guest_output){.line = take_line, .context = &lanes[i].printed};
        args.host = &recording_host;
        args.access = args_access;
        args.access_context = &lanes[i];
        args.time_ns = 300 * WEIR_NS_PER_MS;
        if (args_event_bytes > 0) {
            args.event_bytes = args_event_bytes;
            args.memory_bytes = 16 * 1024 * 1024 + 4 * args_event_bytes;
            args.time_ns = 60 * WEIR_NS_PER_S;
        }
        if (weir_guest_load(engine, &args, path, &lanes[i].guest, &err) != WEIR_OK) {
            fail_msg("%s lane: %s", lanes[i].name, err.message);
        }
        assert_int_equal(weir_guest_lane(lanes[i].guest, &reason), lanes[i].lane);
    }
}

static void unload(void) {
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        weir_guest_unref(lanes[i].guest);
        lanes[i].guest = NULL;
    }
}

static void handle_in(struct lane *lane, uint32_t handler, const struct weir_event_fields *event) {
    struct weir_error err;
    lane->printed.size = 0;
    lane->printed.bytes[0] = '\0';
    memset(&lane->call, 0, sizeof lane->call);
    weir_guest_handle(lane->guest, handler, event, &lane->call, &lane->verdict);
    lane->derived = NULL;
    if (lane->verdict.derived) {
        assert_int_equal(weir_event_to_json(&lane->verdict.derived->fields, &lane->derived, &err),
                         WEIR_OK);
    }
}

// Cuts the text between two others, and the second, out of a message.
static void cut_out(char *message, const char *begin, const char *end) {
    char *from = strstr(message, begin);
    char *to = from ? strstr(from, end) : NULL;
    if (to) {
        memmove(from, to + strlen(end), strlen(to + strlen(end)) + 1);
    }
}

// How an error's text may differ between the lanes: only the core lane sees the guest's memory, of
// which a component's adapter has a part.
static bool is_same_error(const struct weir_error *core, const struct weir_error *component) {
    char messages[2][WEIR_ERROR_MESSAGE_BYTES];
    memcpy(messages[0], core->message, sizeof messages[0]);
    memcpy(messages[1], component->message, sizeof messages[1]);
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        cut_out(messages[i], "; it had ", "bounds.memory allows");
        cut_out(messages[i], "it used ", "bounds.memory allows: ");
        cut_out(messages[i], " in linear memory of size 0x", "0000");
    }
    return core->status == component->status && strcmp(messages[0], messages[1]) == 0;
}

static void compare(const char *what) {
    const struct lane *core = &lanes[0], *component = &lanes[1];
    bool is_same = core->verdict.outcome == component->verdict.outcome &&
                   (core->verdict.outcome == WEIR_HANDLED ||
                    is_same_error(&core->verdict.error, &component->verdict.error)) &&
                   core->printed.size == component->printed.size &&
                   memcmp(core->printed.bytes, component->printed.bytes, core->printed.size) == 0 &&
                   core->call.output_tail_size == component->call.output_tail_size &&
                   memcmp(core->call.output_tail, component->call.output_tail,
                          core->call.output_tail_size) == 0 &&
                   !core->derived == !component->derived &&
                   (!core->derived || strcmp(core->derived, component->derived) == 0);
    if (!is_same) {
        for (size_t i = 0; i < COUNT_OF(lanes); i++) {
            bool is_ok = lanes[i].verdict.outcome == WEIR_HANDLED;
            print_message("%s: outcome %d, %s, printed %zu bytes: %.300s; derived %.300s\n",
                          lanes[i].name, (int)lanes[i].verdict.outcome,
                          is_ok ? "" : lanes[i].verdict.error.message, lanes[i].printed.size,
                          lanes[i].printed.bytes, lanes[i].derived ? lanes[i].derived : "nothing");
        }
        fail_msg("%s: the lanes differ", what);
    }
}

static void forget(void) {
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        weir_event_unref(lanes[i].verdict.derived);
        free(lanes[i].derived);
    }
}

// Calls the handler in both lanes and compares.
static void handle(uint32_t handler, const struct weir_event_fields *event, const char *what) {
    for (size_t i = 0; i < COUNT_OF(lanes); i++) {
        handle_in(&lanes[i], handler, event);
    }
    compare(what);
}

// ---- events

static struct weir_event_fields event_with(struct weir_payload payload) {
    static const struct weir_attribute extensions[] = {
        {WEIR_STR("correlationid"), WEIR_STR("the first of all")},
        {WEIR_STR("hops"), WEIR_STR("2")},
    };
    return (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/test"),
        .id = WEIR_STR("4711"),
        .data = {true, payload},
        .datacontenttype = {true, WEIR_STR("application/octet-stream")},
        .dataschema = {true, WEIR_STR("https://example.org/schema")},
        .subject = {true, WEIR_STR("orders/\xc3\xa9t\xc3\xa9")},
        .time = {true, WEIR_STR("2026-11-27T00:00:00Z")},
        .extensions = {extensions, COUNT_OF(extensions)},
    };
}

static struct weir_event_fields event_of(const char *body) {
    return event_with((struct weir_payload){WEIR_PAYLOAD_TEXT, weir_str_of(body)});
}

static void bare_event(struct weir_event_fields *ret_event) {
    *ret_event = (struct weir_event_fields){
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = WEIR_STR("/test"),
        .id = WEIR_STR("1"),
    };
}

// ---- tests

static void assert_echoed(const struct weir_event_fields *event, const char *what) {
    char *sent;
    struct weir_error err;
    handle(0, event, what);
    assert_int_equal(weir_event_to_json(event, &sent, &err), WEIR_OK);
    if (!lanes[0].derived) {
        fail_msg("%s: %s", what, lanes[0].verdict.error.message);
    }
    assert_string_equal(lanes[0].derived, sent);
    free(sent);
    forget();
}

static void an_event_goes_through_as_it_is(void **state) {
    (void)state;
    unsigned char bytes[256];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (unsigned char)i;
    }
    struct weir_str all = {(const char *)bytes, sizeof bytes};
    for (int instances = WEIR_INSTANCES_FRESH; instances <= WEIR_INSTANCES_REUSED; instances++) {
        load("echo", (enum weir_guest_instances)instances);
        struct weir_event_fields event;
        bare_event(&event);
        assert_echoed(&event, "an event of nothing but what must be");
        event = event_of("a text");
        assert_echoed(&event, "a text");
        event = event_of("");
        assert_echoed(&event, "an empty text");
        event = event_with((struct weir_payload){WEIR_PAYLOAD_BINARY, all});
        assert_echoed(&event, "every byte value");
        event = event_with((struct weir_payload){WEIR_PAYLOAD_BINARY, {NULL, 0}});
        assert_echoed(&event, "no bytes");
        char *large = malloc(LARGE_BYTES);
        memset(large, 'x', LARGE_BYTES);
        event = event_with((struct weir_payload){WEIR_PAYLOAD_TEXT, {large, LARGE_BYTES}});
        assert_echoed(&event, "a large text");
        free(large);
        unload();
    }
}

static void an_event_over_its_bound_is_refused_in_the_same_words(void **state) {
    (void)state;
    load("echo", WEIR_INSTANCES_FRESH);
    struct weir_guest_args args = small_guest_args("echo");
    size_t size = args.event_bytes + 1;
    char *body = malloc(size);
    memset(body, 'x', size);
    struct weir_event_fields event =
        event_with((struct weir_payload){WEIR_PAYLOAD_TEXT, {body, size}});
    handle(0, &event, "a body over bounds.event");
    assert_int_equal(lanes[0].verdict.outcome, WEIR_BROKEN);
    assert_message_has(&lanes[0].verdict.error, "bounds.event");
    forget();
    free(body);
    unload();
}

static void a_body_has_the_same_bound_whatever_it_is(void **state) {
    (void)state;
    enum { MOST = 16 * 1024 * 1024, BESIDE = 4096 };
    args_event_bytes = MOST;
    load("echo", WEIR_INSTANCES_FRESH);
    args_event_bytes = 0;
    char *body = malloc(MOST + 1);
    memset(body, 0xAB, MOST + 1);
    struct weir_event_fields event =
        event_with((struct weir_payload){WEIR_PAYLOAD_BINARY, {body, MOST - BESIDE}});
    handle(0, &event, "a body just below bounds.event");
    assert_int_equal(lanes[0].verdict.outcome, WEIR_HANDLED);
    forget();
    event.data.value.bytes.size = MOST + 1;
    handle(0, &event, "a body over bounds.event");
    assert_int_equal(lanes[0].verdict.outcome, WEIR_BROKEN);
    assert_message_has(&lanes[0].verdict.error, "bounds.event");
    forget();
    free(body);
    unload();
}

// But for `exit N`: WASI 0.2 knows of success and failure only.
static void whatever_a_handler_does_ends_in_the_same_way(void **state) {
    (void)state;
    static const struct {
        const char *body;
        enum weir_outcome outcome;
    } rows[] = {
        {"ok", WEIR_HANDLED},
        {"err the reason", WEIR_FAILED},
        {"err ", WEIR_FAILED},
        {"derive 1000", WEIR_HANDLED},
        {"extend 64", WEIR_HANDLED},
        {"extend 65", WEIR_BROKEN},
        {"loop", WEIR_BROKEN},
        {"sleep 10000", WEIR_BROKEN},
        {"trap", WEIR_BROKEN},
        {"divide 0", WEIR_BROKEN},
        {"abort", WEIR_BROKEN},
        {"wild-read", WEIR_BROKEN},
        {"recurse-thin", WEIR_BROKEN},
        {"grow", WEIR_HANDLED},
        {"grow-trap", WEIR_BROKEN},
        {"line 5000", WEIR_HANDLED},
        {"partial 10", WEIR_HANDLED},
        {"partial-trap 10", WEIR_BROKEN},
        {"flood", WEIR_BROKEN},
        {"binary", WEIR_HANDLED},
        {"stderr a text", WEIR_HANDLED},
        {"call-host", WEIR_HANDLED},
        {"look-around", WEIR_HANDLED},
        {"nothing that it knows", WEIR_FAILED},
    };
    for (int instances = WEIR_INSTANCES_FRESH; instances <= WEIR_INSTANCES_REUSED; instances++) {
        load("obey", (enum weir_guest_instances)instances);
        for (size_t i = 0; i < COUNT_OF(rows); i++) {
            struct weir_event_fields event = event_of(rows[i].body);
            handle(0, &event, rows[i].body);
            if (lanes[0].verdict.outcome != rows[i].outcome) {
                fail_msg("%s: %d, \"%s\"", rows[i].body, (int)lanes[0].verdict.outcome,
                         lanes[0].verdict.error.message);
            }
            forget();
        }
        unload();
    }
}

static void handlers_are_found_by_their_names_and_types(void **state) {
    (void)state;
    static const char *const names[] = {"handle-event", "on-order",   "on-invoice",
                                        "on-bad",       "on-nothing", "no-such"};
    load("multi", WEIR_INSTANCES_FRESH);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        uint32_t handlers[COUNT_OF(lanes)] = {0};
        weir_status statuses[COUNT_OF(lanes)];
        for (size_t lane = 0; lane < COUNT_OF(lanes); lane++) {
            struct weir_error err;
            statuses[lane] = weir_guest_handler_find(lanes[lane].guest, weir_str_of(names[i]),
                                                     &handlers[lane], &err);
        }
        assert_int_equal(statuses[0], statuses[1]);
        if (statuses[0] == WEIR_OK) {
            struct weir_event_fields event = event_of("");
            for (size_t lane = 0; lane < COUNT_OF(lanes); lane++) {
                handle_in(&lanes[lane], handlers[lane], &event);
            }
            compare(names[i]);
            assert_int_equal(lanes[0].verdict.outcome, WEIR_HANDLED);
            assert_non_null(strstr(lanes[0].printed.bytes, names[i]));
            forget();
        }
        assert_int_equal(statuses[0] == WEIR_OK, i < 3);
    }
    unload();
}

static void a_handler_rejects(void **state) {
    (void)state;
    static const struct {
        const char *guest, *body;
        enum weir_outcome outcome;
    } rows[] = {
        {"reject", "retry a reason", WEIR_FAILED},
        {"reject", "reject a reason", WEIR_REJECTED},
        {"reject", "event", WEIR_HANDLED},
        {"reject", "trap", WEIR_BROKEN},
        {"bindings-or-reject", "retry", WEIR_FAILED},
        {"bindings-or-reject", "reject", WEIR_REJECTED},
        {"reject-rust", "retry", WEIR_FAILED},
        {"reject-rust", "reject", WEIR_REJECTED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint32_t handler;
        load(rows[i].guest, WEIR_INSTANCES_FRESH);
        struct weir_event_fields event = event_of(rows[i].body);
        for (size_t lane = 0; lane < COUNT_OF(lanes); lane++) {
            assert_int_equal(weir_guest_handler_find(
                                 lanes[lane].guest, WEIR_STR(WEIR_HANDLER_DEFAULT), &handler, NULL),
                             WEIR_OK);
            handle_in(&lanes[lane], handler, &event);
        }
        compare(rows[i].body);
        assert_int_equal(lanes[0].verdict.outcome, rows[i].outcome);
        forget();
        unload();
    }
}

static void an_instance_is_kept_until_it_traps(void **state) {
    (void)state;
    static const struct {
        const char *body, *printed;
    } rows[] = {
        {"", "count 1"}, {"", "count 2"}, {"trap", "count 3"}, {"", "count 1"}, {"", "count 2"},
    };
    load("counter", WEIR_INSTANCES_REUSED);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_event_fields event = event_of(rows[i].body);
        handle(0, &event, rows[i].printed);
        assert_non_null(strstr(lanes[0].printed.bytes, rows[i].printed));
        forget();
    }
    unload();
}

// ---- mains

// What a main asked of its host, in the lane's output; one set, one resource.
static void note(void *session, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(void *session, const char *format, ...) {
    struct lane *lane = session;
    char text[256];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    take_line(&lane->printed, "", (struct weir_str){text, (size_t)size});
}

static weir_status note_open(void *session, struct weir_str name, struct weir_error *err) {
    note(session, "-- open %.*s", WEIR_STR_ARG(name));
    return weir_str_equal(name, WEIR_STR("store"))
               ? WEIR_OK
               : weir_fail(err, WEIR_NOT_FOUND, "there is only \"store\"");
}

static weir_status note_watch(void *session, struct weir_str rd, struct weir_str key,
                              struct weir_error *err) {
    note(session, "-- watch %.*s %.*s", WEIR_STR_ARG(rd), WEIR_STR_ARG(key));
    return key.size > 0 ? WEIR_OK : weir_fail(err, WEIR_INVALID, "a key has to be something");
}

static weir_status note_new(void *session, void **ret_set, struct weir_error *err) {
    (void)err;
    note(session, "-- new set");
    *ret_set = session;
    return WEIR_OK;
}

static void note_ref(void *session, void *set) {
    (void)set;
    note(session, "-- ref");
}

static void note_unref(void *session, void *set) {
    (void)set;
    note(session, "-- unref");
}

static weir_status note_listen(void *session, void *set, struct weir_str rd, struct weir_str key,
                               uint32_t handler, struct weir_error *err) {
    (void)set;
    (void)err;
    struct lane *lane = session;
    note(session, "-- listen %.*s %.*s %s", WEIR_STR_ARG(rd), WEIR_STR_ARG(key),
         weir_guest_handler_name(lane->guest, handler));
    return WEIR_OK;
}

static weir_status note_exec(void *session, void *set, uint64_t duration_s,
                             struct weir_error *err) {
    (void)set;
    (void)err;
    note(session, "-- exec %llu", (unsigned long long)duration_s);
    return WEIR_OK;
}

static const struct weir_guest_host recording_host = {
    .open = note_open,
    .watch = note_watch,
    .set_new = note_new,
    .set_ref = note_ref,
    .set_unref = note_unref,
    .set_listen = note_listen,
    .set_exec = note_exec,
};

static void a_main_asks_the_same_of_its_host(void **state) {
    (void)state;
    static const struct {
        const char *guest;
        weir_status status;
        const char *printed;
    } rows[] = {
        {"seed", WEIR_OTHER, "-- open my-container"},
        {"main-exec-forever", WEIR_OK, "-- exec 0"},
        {"main-listen-to", WEIR_OK, "on-other"},
        {"main-exec-twice", WEIR_OK, "-- exec"},
        {"main-exec-longest", WEIR_OK, "-- exec 18446744073709551615"},
        {"main-drop-set", WEIR_OK, "-- unref"},
        {"main-two-sets", WEIR_OK, "-- new set"},
        {"main-listen-twice", WEIR_OK, "-- listen"},
        {"main-unknown-resource", WEIR_OK, "not-found"},
        {"main-unknown-handler", WEIR_OK, "not-found"},
        {"main-wrong-signature", WEIR_OK, "invalid"},
        {"main-many-handles", WEIR_OK, "limit"},
        {"main-loop", WEIR_LIMIT, ""},
        {"main-trap", WEIR_TRAPPED, ""},
        {"bindings", WEIR_OK, "-- watch store *"},
        {"run-ok", WEIR_OK, ""},
        {"run-err", WEIR_OTHER, ""},
        {"run-trap", WEIR_TRAPPED, ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        load(rows[i].guest, WEIR_INSTANCES_FRESH);
        for (size_t lane = 0; lane < COUNT_OF(lanes); lane++) {
            struct weir_call call = {0};
            struct weir_error err = {.message = ""};
            lanes[lane].printed.size = 0;
            lanes[lane].printed.bytes[0] = '\0';
            weir_status status = weir_guest_run(lanes[lane].guest, &lanes[lane], &call, &err);
            if (status != rows[i].status || !strstr(lanes[lane].printed.bytes, rows[i].printed)) {
                fail_msg("%s in the %s lane: %s, \"%s\"; printed %s", rows[i].guest,
                         lanes[lane].name, weir_status_name(status), err.message,
                         lanes[lane].printed.bytes);
            }
        }
        if (strcmp(lanes[0].printed.bytes, lanes[1].printed.bytes) != 0) {
            fail_msg("%s: the lanes differ:\n%s--- and\n%s", rows[i].guest, lanes[0].printed.bytes,
                     lanes[1].printed.bytes);
        }
        unload();
    }
}

// ---- databases

enum {
    COLUMNS_MAX = WEIR_SQL_COLUMNS_MAX + 1,
    VALUES_MAX = WEIR_SQL_VALUES_MAX + WEIR_SQL_ROWS_MAX,
    TEXT_BYTES = 1024 * 1024,
};

// What the database answers lies here.
static struct {
    struct weir_str columns[COLUMNS_MAX];
    struct weir_sql_value values[VALUES_MAX];
    char text[TEXT_BYTES];
    int held; // answers that were not given back
} base;

static void give_back(void *held) {
    (void)held;
    base.held--;
}

static struct weir_sql_result answer_of(size_t columns, size_t rows) {
    REQUIRE(columns <= COLUMNS_MAX && columns * rows <= VALUES_MAX);
    for (size_t i = 0; i < columns; i++) {
        base.columns[i] = WEIR_STR("c");
    }
    memset(base.values, 0, sizeof base.values);
    base.held++;
    return (struct weir_sql_result){.columns = base.columns,
                                    .column_count = columns,
                                    .values = base.values,
                                    .row_count = rows,
                                    .changed = 7,
                                    .held = &base,
                                    .free_held = give_back};
}

static struct weir_sql_result every_kind(void) {
    static const struct weir_sql_value kinds[] = {
        {.kind = WEIR_SQL_NULL},
        {.kind = WEIR_SQL_BOOLEAN, .boolean = true},
        {.kind = WEIR_SQL_INTEGER, .integer = INT64_MIN},
        {.kind = WEIR_SQL_REAL, .real = -0.5},
        {.kind = WEIR_SQL_TEXT, .bytes = {"gr\xc3\xbc\xc3\x9f", 6}},
        {.kind = WEIR_SQL_BINARY, .bytes = {"\0\xff", 2}},
        {.kind = WEIR_SQL_DECIMAL, .bytes = {"0.10", 4}},
        {.kind = WEIR_SQL_JSON, .bytes = {"[1]", 3}},
        {.kind = WEIR_SQL_TEXT, .bytes = {"a\xff", 2}}, // which is no text
        {.kind = WEIR_SQL_TEXT},
    };
    struct weir_sql_result result = answer_of(COUNT_OF(kinds) / 2, 2);
    memcpy(base.values, kinds, sizeof kinds);
    base.columns[1] = WEIR_STR("second");
    return result;
}

static struct weir_sql_result echo(const struct weir_sql_statement *statement) {
    struct weir_sql_result result = answer_of(statement->parameter_count, 1);
    memcpy(base.values, statement->parameters, statement->parameter_count * sizeof *base.values);
    return result;
}

static struct weir_sql_result one_text(size_t size) {
    struct weir_sql_result result = answer_of(1, 1);
    memset(base.text, 'x', sizeof base.text);
    base.values[0] =
        (struct weir_sql_value){.kind = WEIR_SQL_TEXT, .bytes = {.data = base.text, .size = size}};
    return result;
}

static struct weir_sql_result texts(size_t columns, size_t rows) {
    struct weir_sql_result result = answer_of(columns, rows);
    for (size_t i = 0; i < columns * rows; i++) {
        base.values[i] = (struct weir_sql_value){.kind = WEIR_SQL_TEXT, .bytes = WEIR_STR("t")};
    }
    return result;
}

// Does what the statement says, and notes in the lane's output what it was asked.
static weir_status base_query(void *context, struct weir_str database,
                              const struct weir_sql_statement *statement,
                              const struct weir_limits *limits, struct weir_sql_result *ret_result,
                              struct weir_error *err) {
    char text[64], noted[128];
    size_t a = 0, b = 0;
    int64_t now_ns = weir_clock_monotonic_ns();
    struct lane *lane = context;
    int status = 0;
    assert_true(limits->until_ns > now_ns && limits->until_ns < now_ns + 60 * WEIR_NS_PER_S);
    snprintf(text, sizeof text, "%.*s", WEIR_STR_ARG(statement->text));
    int size = snprintf(noted, sizeof noted, "-- %.*s %s %s %zu %llu %llu", WEIR_STR_ARG(database),
                        statement->is_reading ? "reads" : "changes", text,
                        statement->parameter_count, (unsigned long long)statement->rows_max,
                        (unsigned long long)limits->value_bytes_max);
    take_line(&lane->printed, "", (struct weir_str){noted, (size_t)size});
    if (sscanf(text, "status %d", &status) == 1) {
        return weir_fail(err, (weir_status)status, "it says so");
    }
    if (strcmp(text, "late") == 0) {
        struct timespec until = weir_clock_timespec(limits->until_ns);
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        return weir_fail(err, WEIR_UNAVAILABLE, "it did not answer in time");
    }
    *ret_result = sscanf(text, "nulls %zu %zu", &a, &b) == 2   ? answer_of(a, b)
                  : sscanf(text, "texts %zu %zu", &a, &b) == 2 ? texts(a, b)
                  : sscanf(text, "text %zu", &a) == 1          ? one_text(a)
                  : strcmp(text, "echo") == 0                  ? echo(statement)
                                                               : every_kind();
    if (strcmp(text, "bad name") == 0) {
        base.columns[1] = WEIR_STR("\xff");
    } else if (strcmp(text, "unchanged") == 0) {
        base.values[3].kind = WEIR_SQL_UNCHANGED;
    }
    return WEIR_OK;
}

static struct weir_attributes no_environment(void *context) {
    (void)context;
    return (struct weir_attributes){0};
}

static void no_reference(void *context) {
    (void)context;
}

static const struct weir_guest_access base_access = {
    .query = base_query,
    .environment = no_environment,
    .ref = no_reference,
    .unref = no_reference,
};

// "query db HEX PARAMETERS" for reach.c.
static void ask_base(const char *command, struct weir_str statement, const char *parameters,
                     const char *expected) {
    size_t room = 2 * statement.size + 256;
    char *body = malloc(room), *next = body;
    REQUIRE(body);
    next += snprintf(next, room, "%s db ", command);
    for (size_t i = 0; i < statement.size; i++) {
        next += snprintf(next, 3, "%02x", (unsigned char)statement.data[i]);
    }
    snprintf(next, 128, "%s %s", statement.size > 0 ? "" : "-", parameters);
    struct weir_event_fields event = event_of(body);
    handle(0, &event, body);
    const char *answer = lanes[0].derived ? lanes[0].derived : lanes[0].verdict.error.message;
    if (!strstr(answer, expected)) {
        fail_msg("%s \"%.*s\" answered %.600s, not %s", command, WEIR_STR_ARG(statement), answer,
                 expected);
    }
    assert_int_equal(base.held, 0);
    forget();
    free(body);
}

static void begin_base(uint64_t event_bytes) {
    args_access = &base_access;
    args_event_bytes = event_bytes;
    load("reach", WEIR_INSTANCES_FRESH);
    args_access = NULL;
    args_event_bytes = 0;
}

static void values_of_a_database_go_there_and_back(void **state) {
    (void)state;
    begin_base(1024 * 1024);
    ask_base("query", WEIR_STR("values"), "",
             "c,second,c,c,c | null true i-9223372036854775808 r-0.5 tgr\xc3\xbc\xc3\x9f"
             " | b00ff d0.10 j[1] b61ff t (10 of 5)");
    ask_base("query", WEIR_STR("echo"), "null true false i-7 r2.5 t6162 bff00 d1.20 j7b7d t- b-",
             " | null true false i-7 r2.5 tab bff00 d1.20 j{} t b- (11 of 11)");
    assert_non_null(strstr(lanes[0].printed.bytes, "-- db reads echo 11 10000 1048576"));
    ask_base("query", WEIR_STR("nulls 0 3"), "", " (0 of 0)");
    ask_base("query", WEIR_STR("nulls 3 0"), "", "c,c,c (0 of 3)");
    ask_base("execute", WEIR_STR("echo"), "i1", "7 changed");
    assert_non_null(strstr(lanes[0].printed.bytes, "-- db changes echo 1 10000 1048576"));
    unload();
}

static void an_error_of_a_database_is_told(void **state) {
    (void)state;
    begin_base(1024 * 1024);
    static const char *const kinds[] = {"not-found",   "denied", "invalid", "unsupported",
                                        "unavailable", "limit",  "other"};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        char statement[32], expected[64];
        snprintf(statement, sizeof statement, "status %zu", i + 1);
        snprintf(expected, sizeof expected, "error %s: it says so", kinds[i]);
        ask_base("query", weir_str_of(statement), "", expected);
        ask_base("execute", weir_str_of(statement), "", expected);
    }
    ask_base("query", WEIR_STR("status 8"), "",
             "weir:sql/sql@0.1.0 query: it says so"); // no memory
    ask_base("query", WEIR_STR("bad name"), "", "error other: the name of column 2 is not UTF-8");
    ask_base("query", WEIR_STR("unchanged"), "",
             "error other: the database answered a value of no");
    ask_base("query", WEIR_STR("a\0b"), "", "error invalid: the statement has a NUL in it");
    unload();
    begin_base(0); // 300 ms
    ask_base("query", WEIR_STR("late"), "", "error unavailable: it did not answer in time");
    unload();
}

static void an_answer_beyond_a_bound_is_an_error_and_no_trap(void **state) {
    (void)state;
    static char statement[WEIR_SQL_STATEMENT_BYTES_MAX + 1];
    memset(statement, ' ', sizeof statement);
    begin_base(1024 * 1024);
    ask_base("query", WEIR_STR("nulls 6 10000"), "", "(60000 of 6)");
    ask_base("query", WEIR_STR("texts 6 10000"), "", "(60000 of 6)");
    ask_base("query", WEIR_STR("nulls 7 10000"), "", "error limit: the answer has 10000 rows of 7");
    ask_base("query", WEIR_STR("nulls 2000 1"), "", "(2000 of 2000)");
    ask_base("query", WEIR_STR("nulls 2001 1"), "", "error limit: the answer has 1 rows of 2001");
    // Its own bytes, 8 for the text of the column and 1 of it, and 16 for the value.
    ask_base("query", WEIR_STR("text 1048551"), "", "(1048551 bytes) (1 of 1)");
    ask_base("query", WEIR_STR("text 1048552"), "", "error limit: the answer of 1048577 bytes");
    // Whose rows nobody has asked for.
    ask_base("execute", WEIR_STR("text 1048576"), "", "7 changed");
    ask_base("query", (struct weir_str){statement, WEIR_SQL_STATEMENT_BYTES_MAX}, "", "c,second");
    ask_base("query", (struct weir_str){statement, sizeof statement}, "",
             "error limit: the statement has 65537 bytes, the most is 65536");
    ask_base("query", WEIR_STR("echo"), "nulls=1024", "(1024 of 1024)");
    ask_base("query", WEIR_STR("echo"), "nulls=1025",
             "params: the list has 1025 items, the most is 1024");
    unload();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_goes_through_as_it_is),
        cmocka_unit_test(an_event_over_its_bound_is_refused_in_the_same_words),
        cmocka_unit_test(a_body_has_the_same_bound_whatever_it_is),
        cmocka_unit_test(whatever_a_handler_does_ends_in_the_same_way),
        cmocka_unit_test(handlers_are_found_by_their_names_and_types),
        cmocka_unit_test(a_handler_rejects),
        cmocka_unit_test(an_instance_is_kept_until_it_traps),
        cmocka_unit_test(a_main_asks_the_same_of_its_host),
        cmocka_unit_test(values_of_a_database_go_there_and_back),
        cmocka_unit_test(an_error_of_a_database_is_told),
        cmocka_unit_test(an_answer_beyond_a_bound_is_an_error_and_no_trap),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    small_guest_engine_end();
    return failed;
}
