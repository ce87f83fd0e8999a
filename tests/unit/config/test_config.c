// SPDX-License-Identifier: Apache-2.0
//
// weir.yaml to structs: what a good file becomes, and for each mistake its line, its key and what
// would be right.
#include "unit/test.h"

#include "config/config.h"
#include "config/document.h"
#include "provider/file/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct reading {
    struct weir_config config;
    struct weir_problems problems;
    struct weir_error err;
    weir_status status;
};

static struct reading *read_bytes(struct weir_str text) {
    struct reading *reading = calloc(1, sizeof *reading);
    assert_non_null(reading);
    reading->status = weir_config_parse(text, "conf/weir.yaml", &reading->config,
                                        &reading->problems, &reading->err);
    return reading;
}

static struct reading *read_text(const char *text) {
    return read_bytes(weir_str_of(text));
}

static void finish(struct reading *reading) {
    weir_problems_finish(&reading->problems);
    weir_config_finish(&reading->config);
    free(reading);
}

static struct reading *read_good(const char *text) {
    struct reading *reading = read_text(text);
    if (reading->status != WEIR_OK) {
        fail_msg("%s; first: %s: %s", reading->err.message,
                 reading->problems.count ? reading->problems.items[0].key : "",
                 reading->problems.count ? reading->problems.items[0].message : "");
    }
    assert_int_equal(reading->problems.count, 0);
    return reading;
}

// A resource's option as a user would write it.
static const char *option_of(const struct weir_resource_config *resource, const char *name) {
    static char text[256];
    const struct weir_option *option =
        weir_option_find(&resource->provider->options, weir_str_of(name));
    assert_non_null(option);
    return weir_option_format(option, resource->options, text, sizeof text);
}

static const char whole[] =
    "host: {workers: 3, grace: 1s, stack: 1MiB, queue: 1GiB}\n"
    "bounds: {time: 1s, memory: 1MiB}\n"
    "resources:\n"
    "  store: {kind: file, path: ./data}\n"
    "  other: {kind: file, path: /abs, create: false}\n"
    "guests:\n"
    "  hello:\n"
    "    wasm: hello.wasm\n"
    "    run: true\n"
    "    instance: reuse\n"
    "    grants: [store, other]\n"
    "    bounds: {time: 2s}\n"
    "    retry: {attempts: 9, backoff: 1s, backoff_max: 2s, jitter: 0}\n"
    "    queue: {events: 10, bytes: 1MiB}\n"
    "  plain: {wasm: /plain.wasm}\n"
    "  hermit: {wasm: h.wasm, grants: []}\n"
    "subscriptions:\n"
    "  - {watch: store, key: \"orders/*\", guest: hello, handler: on-order}\n"
    "  - {name: p, watch: other, key: k, guest: plain, queue: {events: 2}}\n"
    "  - {watch: store, key: k, guest: plain, retry: {attempts: 1}}\n"
    "  - {watch: store, key: k, guest: hermit}\n";

static void a_good_file_is_read_whole(void **state) {
    (void)state;
    struct reading *reading = read_good(whole);
    const struct weir_config *config = &reading->config;
    assert_string_equal(config->path, "conf/weir.yaml");
    assert_string_equal(config->folder, "conf");
    assert_int_equal(config->host.workers, 3);
    assert_int_equal(config->host.grace_ns, WEIR_NS_PER_S);
    assert_int_equal(config->host.stack_bytes, 1 << 20);
    assert_int_equal(config->host.queue_bytes, 1 << 30);

    assert_int_equal(config->resource_count, 2);
    const struct weir_resource_config *store = weir_config_resource(config, WEIR_STR("store"));
    assert_string_equal(store->name, "store");
    assert_ptr_equal(store->provider, &weir_file_provider);
    assert_int_equal(store->place.line, 4);
    assert_string_equal(option_of(store, "path"), "conf/./data");
    assert_string_equal(option_of(store, "create"), "true");
    const struct weir_resource_config *other = weir_config_resource(config, WEIR_STR("other"));
    assert_string_equal(option_of(other, "path"), "/abs");
    assert_string_equal(option_of(other, "create"), "false");
    assert_null(weir_config_resource(config, WEIR_STR("stor")));
    finish(reading);
}

static void a_guest_has_its_own_and_its_defaults(void **state) {
    (void)state;
    struct reading *reading = read_good(whole);
    const struct weir_config *config = &reading->config;
    assert_int_equal(config->guest_count, 3);
    const struct weir_guest_config *hello = weir_config_guest(config, WEIR_STR("hello"));
    assert_string_equal(hello->wasm, "conf/hello.wasm");
    assert_true(hello->run);
    assert_int_equal(hello->instance, WEIR_INSTANCE_REUSE);
    assert_int_equal(hello->grant_count, 2);
    assert_string_equal(hello->grants[0].resource, "store");
    assert_string_equal(hello->grants[1].resource, "other");
    assert_int_equal(hello->bounds.time_ns, 2 * WEIR_NS_PER_S); // its own
    assert_int_equal(hello->bounds.memory_bytes, 1 << 20);      // the file's
    assert_int_equal(hello->bounds.event_bytes, 16 << 20);      // weir's
    assert_int_equal(hello->retry.attempts, 9);
    assert_int_equal(hello->retry.backoff_max_ns, 2 * WEIR_NS_PER_S);
    assert_true(hello->retry.jitter == 0);
    assert_int_equal(hello->queue.events, 10);
    const struct weir_guest_config *plain = weir_config_guest(config, WEIR_STR("plain"));
    assert_string_equal(plain->wasm, "/plain.wasm");
    assert_false(plain->run);
    assert_int_equal(plain->instance, WEIR_INSTANCE_FRESH);
    assert_int_equal(plain->bounds.time_ns, WEIR_NS_PER_S);
    assert_int_equal(plain->retry.attempts, 5);
    assert_int_equal(plain->retry.backoff_ns, 100 * WEIR_NS_PER_MS);
    assert_int_equal(plain->queue.bytes, 64 << 20);
    finish(reading);
}

static void grants_at_length_are_read(void **state) {
    (void)state;
    struct reading *reading =
        read_good("resources: {a: {kind: file, path: a}, b: {kind: file, path: b}}\n"
                  "guests:\n"
                  "  g:\n"
                  "    wasm: x\n"
                  "    grants:\n"
                  "      - a\n"
                  "      - {resource: b, verbs: [get, list], keys: \"orders/*\"}\n"
                  "      - {resource: b, verbs: [publish, publish], keys: one}\n"
                  "      - {resource: b, keys: \"held/*\"}\n"
                  "      - {resource: b}\n"
                  "      - {resource: a, keys: k, verbs: [get]}\n"
                  "    env: [HOME, LANG]\n"
                  "    config: {greeting: hi, empty: \"\"}\n"
                  "  h: {wasm: x}\n"
                  "subscriptions: [{watch: a, key: k, guest: h}]\n");
    const struct weir_guest_config *guest = &reading->config.guests[0];
    assert_int_equal(guest->grant_count, 6);
    assert_string_equal(guest->grants[0].resource, "a");
    assert_int_equal(guest->grants[0].verbs, WEIR_VERBS_ALL);
    assert_null(guest->grants[0].keys);
    assert_int_equal(guest->grants[1].verbs, WEIR_VERB_GET | WEIR_VERB_LIST);
    assert_string_equal(guest->grants[1].keys, "orders/*");
    assert_int_equal(guest->grants[2].verbs, WEIR_VERB_PUBLISH);
    assert_string_equal(guest->grants[2].keys, "one");
    // Of some keys: a statement of SQL reaches every table.
    assert_int_equal(guest->grants[3].verbs, WEIR_VERBS_ALL & ~WEIR_VERBS_SQL);
    assert_int_equal(guest->grants[4].verbs, WEIR_VERBS_ALL);
    assert_int_equal(guest->grants[5].verbs, WEIR_VERB_GET);
    assert_int_equal(guest->env.count, 2);
    assert_string_equal(guest->env.items[1], "LANG");
    assert_int_equal(guest->config.count, 2);
    assert_string_equal(guest->config.items[0].name, "greeting");
    assert_string_equal(guest->config.items[0].value, "hi");
    assert_string_equal(guest->config.items[1].value, "");
    // Of its subscriptions, to read.
    assert_int_equal(reading->config.guests[1].grant_count, 1);
    assert_int_equal(reading->config.guests[1].grants[0].verbs, WEIR_VERBS_READ);
    finish(reading);
}

static void without_grants_a_guest_has_what_its_subscriptions_watch(void **state) {
    (void)state;
    struct reading *reading = read_good(whole);
    const struct weir_guest_config *plain = weir_config_guest(&reading->config, WEIR_STR("plain"));
    assert_int_equal(plain->grant_count, 2);
    assert_string_equal(plain->grants[0].resource, "other");
    assert_string_equal(plain->grants[1].resource, "store");
    // An empty list is a list: nothing is granted.
    assert_int_equal(weir_config_guest(&reading->config, WEIR_STR("hermit"))->grant_count, 0);
    finish(reading);
}

static void a_subscription_starts_from_its_guest(void **state) {
    (void)state;
    struct reading *reading = read_good(whole);
    assert_int_equal(reading->config.subscription_count, 4);
    const struct weir_subscription_config *first = &reading->config.subscriptions[0];
    assert_null(first->name);
    assert_string_equal(first->resource, "store");
    assert_string_equal(first->key, "orders/*");
    assert_string_equal(first->guest, "hello");
    assert_string_equal(first->handler, "on-order");
    assert_int_equal(first->retry.attempts, 9);
    assert_int_equal(first->queue.events, 10);
    assert_int_equal(first->place.line, 18);
    const struct weir_subscription_config *second = &reading->config.subscriptions[1];
    assert_string_equal(second->name, "p");
    assert_string_equal(second->handler, "handle-event");
    assert_int_equal(second->retry.attempts, 5);
    assert_int_equal(second->queue.events, 2);
    assert_int_equal(second->queue.bytes, 64 << 20);
    assert_int_equal(reading->config.subscriptions[2].retry.attempts, 1);
    finish(reading);
}

static void an_anchor_gives_what_it_stands_for(void **state) {
    (void)state;
    struct reading *reading = read_good("guests:\n"
                                        "  a: {wasm: a.wasm, retry: &patient {attempts: 77}}\n"
                                        "  b: {wasm: b.wasm, retry: *patient}\n");
    assert_int_equal(reading->config.guests[1].retry.attempts, 77);
    finish(reading);
}

static void a_byte_order_mark_is_skipped(void **state) {
    (void)state;
    finish(read_good("\xef\xbb\xbfhost: {workers: 1}\n"));
    finish(read_good("%YAML 1.1\n%TAG !e! tag:example,2026:\n---\nhost: {workers: 1}\n...\n"));
}

static void what_has_no_value_is_as_if_it_were_not_there(void **state) {
    (void)state;
    struct reading *reading = read_good("host:\nbounds: \nresources:\nsubscriptions:\n"
                                        "guests: {a: {wasm: x, grants: , bounds: , retry: }}\n");
    assert_int_equal(reading->config.guests[0].bounds.handles, 256);
    finish(reading);
}

// ---- the environment ----

static void variables_are_replaced(void **state) {
    (void)state;
    setenv("WEIR_TEST_DIR", "here/${NOT_AGAIN}", 1);
    setenv("WEIR_TEST_N", "12", 1);
    setenv("WEIR_TEST_EMPTY", "", 1);
    struct reading *reading =
        read_good("host: {workers: \"1${WEIR_TEST_EMPTY}${WEIR_TEST_N}\"}\n"
                  "resources: {r: {kind: file, path: \"/x/${WEIR_TEST_DIR}/$${y}/$z/$\"}}\n"
                  "guests: {g: {wasm: \"/${WEIR_TEST_N}\", grants: [\"${WEIR_TEST_EMPTY}r\"]}}\n");
    assert_string_equal(option_of(&reading->config.resources[0], "path"),
                        "/x/here/${NOT_AGAIN}/${y}/$z/$");
    assert_int_equal(reading->config.host.workers, 112);
    assert_string_equal(reading->config.guests[0].wasm, "/12");
    assert_string_equal(reading->config.guests[0].grants[0].resource, "r");
    finish(reading);
}

static void a_value_of_the_environment_is_never_shown(void **state) {
    (void)state;
    setenv("WEIR_TEST_SECRET", "hunter2", 1);
    struct reading *reading = read_text("bounds: {time: \"${WEIR_TEST_SECRET}\"}\n"
                                        "resources: {r: {kind: \"${WEIR_TEST_SECRET}\"}}\n");
    assert_int_equal(reading->problems.count, 2);
    for (size_t i = 0; i < reading->problems.count; i++) {
        assert_null(strstr(reading->problems.items[i].message, "hunter2"));
        assert_non_null(strstr(reading->problems.items[i].message, "${WEIR_TEST_SECRET}"));
    }
    finish(reading);
}

// ---- mistakes ----

struct mistake {
    const char *text;
    uint32_t line;
    const char *key, *message;
};

// Each text has exactly this one mistake.
static void assert_mistakes(const struct mistake *mistakes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct reading *reading = read_text(mistakes[i].text);
        if (reading->problems.count != 1) {
            fail_msg("%zu mistakes in: %s", reading->problems.count, mistakes[i].text);
        }
        assert_int_equal(reading->status, WEIR_INVALID);
        const struct weir_problem *problem = &reading->problems.items[0];
        assert_string_equal(problem->key, mistakes[i].key);
        if (!strstr(problem->message, mistakes[i].message)) {
            fail_msg("\"%s\" does not say \"%s\"", problem->message, mistakes[i].message);
        }
        assert_int_equal(problem->place.line, mistakes[i].line);
        finish(reading);
    }
}

#define RESOURCES "resources: {r: {kind: file, path: d}}\n"
#define GUESTS    "guests: {g: {wasm: g.wasm}}\n"

static void mistakes_of_yaml_are_told_with_their_line(void **state) {
    (void)state;
    static const struct mistake mistakes[] = {
        {"", 1, "", "the file holds nothing; begin with \"resources:\" or \"guests:\""},
        {"# only a comment\n", 1, "", "the file holds nothing"},
        {"host:\n\t- a\n", 2, "", "indented by a tab; YAML indents by spaces"},
        {"host: {workers: 1\nbounds: {}\n", 2, "",
         "no valid YAML: did not find expected ',' or '}'"},
        {"host: \"open\n", 2, "", "found unexpected end of stream"},
        {"resources: {r: {kind: file, path: ${HOME}}}\n", 1, "", "write \"${NAME}\" in quotes"},
        {"host: {}\n---\nbounds: {}\n", 2, "", "a second document begins here"},
        {"host: {}\n# \xff\n", 2, "", "not UTF-8"},
        {"host: {workers: *nobody}\n", 1, "", "no anchor &nobody ends before this alias"},
        {"host: &h {workers: *h}\n", 1, "", "no anchor &h ends before this alias"},
        {"host: {workers: !!int 1}\n", 1, "", "the tag !!int has no meaning here"},
        {"host: !mine {}\n", 1, "", "the tag !mine has no meaning here"},
        {"? [a]\n: 1\n", 1, "", "a key has to be a text"},
        {"\xff\xfeh", 1, "", "not UTF-8"}, // UTF-16
        {"host:\n"
         "  [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]\n",
         2, "", "more than 16 levels deep"},
    };
    assert_mistakes(mistakes, COUNT_OF(mistakes));
}

static void mistakes_of_shape_are_told_with_their_key(void **state) {
    (void)state;
    static const struct mistake mistakes[] = {
        {"hello\n", 1, "", "this is a single value; write a mapping with \"resources:\""},
        {"- a\n", 1, "", "this is a list; write a mapping"},
        {"hots: {}\n", 1, "hots",
         "no such key; did you mean \"host\"? Known here: host, state, traces, admin, bounds, "
         "resources, guests, subscriptions"},
        {"\n\nzebra: {}\n", 3, "zebra", "no such key; known here: host, state, traces"},
        {"host: {}\nhost: {}\n", 2, "host", "the key is given twice, first on line 1"},
        {"<<: {}\n", 1, "<<", "merge keys are not read"},
        {"host: 5\n", 1, "host", "this is a single value; write a mapping of options"},
        {"host:\n  wrokers: 5\n", 2, "host.wrokers", "did you mean \"workers\"?"},
        {"host: {workers: [1]}\n", 1, "host.workers", "this is a list; write a whole number"},
        {"host: {workers: }\n", 1, "host.workers", "this is empty; write a whole number"},
        {"host:\n  grace: 1s\n  grace: 2s\n", 3, "host.grace", "given twice, first on line 2"},
        {"resources: []\n", 1, "resources", "this is a list; write a mapping of names"},
        {"resources: {r: }\n", 1, "resources.r", "the resource is empty; write a mapping"},
        {"resources: {r: file}\n", 1, "resources.r", "this is a single value; write a mapping"},
        {"guests: hello\n", 1, "guests", "this is a single value; write a mapping of names"},
        {"guests: {g: }\n", 1, "guests.g", "the guest is empty; write a mapping"},
        {"subscriptions: {}\n", 1, "subscriptions", "this is a mapping; write a list"},
        {"subscriptions:\n  -\n", 2, "subscriptions[0]",
         "the subscription is empty; write a mapping"},
        {"subscriptions: [x]\n", 1, "subscriptions[0]", "this is a single value; write a mapping"},
        {RESOURCES "guests: {g: {wasm: x, grants: r}}\n", 2, "guests.g.grants",
         "write a list of resources"},
        {RESOURCES "guests: {g: {wasm: x, grants: [[r]]}}\n", 2, "guests.g.grants[0]",
         "this is a list; write the name of a resource, or {resource: NAME, verbs: [get], keys: "
         "\"a/*\"}"},
        {RESOURCES "guests: {g: {wasm: x, grants: [{resource: r, verbs: get}]}}\n", 2,
         "guests.g.grants[0].verbs", "this is a single value; write a list of verbs"},
        {RESOURCES "guests: {g: {wasm: x, grants: [{resource: r, verbs: []}]}}\n", 2,
         "guests.g.grants[0].verbs", "no verbs grant nothing"},
        {RESOURCES "guests: {g: {wasm: x, grants: [{resource: r, verbs: [get, read]}]}}\n", 2,
         "guests.g.grants[0].verbs[1]", "\"read\" is no verb; write get, set, delete"},
        {RESOURCES
         "guests: {g: {wasm: x, grants: [{resource: r, keys: a, verbs: [get, query]}]}}\n",
         2, "guests.g.grants[0].verbs", "query is of a whole resource, since a statement reaches"},
        {RESOURCES
         "guests: {g: {wasm: x, grants: [{resource: r, verbs: [execute], keys: \"*\"}]}}\n",
         2, "guests.g.grants[0].verbs", "execute is of a whole resource"},
        {RESOURCES "guests: {g: {wasm: x, grants: [{resource: r, key: a}]}}\n", 2,
         "guests.g.grants[0].key", "no such key; did you mean \"keys\"?"},
        {RESOURCES "guests: {g: {wasm: x, grants: [{keys: a}]}}\n", 2, "guests.g.grants[0]",
         "\"resource\" is missing"},
        {RESOURCES "guests: {g: {wasm: x, env: PATH}}\n", 2, "guests.g.env",
         "this is a single value; write a list of names of environment variables"},
        {RESOURCES "guests: {g: {wasm: x, env: [A=B]}}\n", 2, "guests.g.env[0]",
         "\"A=B\": this is no name of an environment variable"},
        {RESOURCES "guests: {g: {wasm: x, config: [a]}}\n", 2, "guests.g.config",
         "this is a list; write a mapping of names to texts"},
        {RESOURCES "guests: {g: {wasm: x, config: {a: [b]}}}\n", 2, "guests.g.config.a",
         "this is a list; write a text"},
        {RESOURCES "guests: {g: {wasm: x, config: {a: b, a: c}}}\n", 2, "guests.g.config.a",
         "the key is given twice"},
    };
    assert_mistakes(mistakes, COUNT_OF(mistakes));
}

static void mistakes_of_value_are_told_with_what_would_be_right(void **state) {
    (void)state;
    static const struct mistake mistakes[] = {
        {"guests:\n  hello:\n    wasm: x\n    bounds:\n      time: \"5 sec\"\n", 5,
         "guests.hello.bounds.time",
         "\"5 sec\" is not a duration; write a number and a unit, such as 250ms, 5s, 2m"},
        {"bounds: {handles: 65536}\n", 1, "bounds.handles", "out of bounds"},
        {"bounds: {watches: 1000001}\n", 1, "bounds.watches", "out of bounds"},
        {"bounds: {memory: 63KiB}\n", 1, "bounds.memory", "out of bounds"},
        {"bounds: {time: 0s}\n", 1, "bounds.time", "out of bounds"},
        {"host: {stack: 1GiB}\n", 1, "host.stack", "out of bounds"},
        {"guests: {g: {wasm: x, retry: {backoff: 2s,\n backoff_max: 1s}}}\n", 1, "guests.g.retry",
         "backoff_max, the longest wait, is less than backoff"},
        {"guests: {g: {wasm: x, retry: {jitter: 2}}}\n", 1, "guests.g.retry.jitter",
         "out of bounds"},
        {"guests: {g: {wasm: x, instance: new}}\n", 1, "guests.g.instance", "write fresh or reuse"},
        {"guests: {g: {wasm: \"a\\0b\"}}\n", 1, "guests.g.wasm", "holds a NUL byte"},
        {"guests:\n  \"a b\": {wasm: x}\n", 2, "guests.a b", "\"a b\" is not a name"},
        {"guests: {\"\": {wasm: x}}\n", 1, "guests.", "\"\" is not a name"},
        {"guests: {\"a\\e[2J\": {wasm: x}}\n", 1, "guests.a\\x1b[2J", "is not a name"},
        {"resources: {a/b: {kind: file, path: x}}\n", 1, "resources.a/b", "is not a name"},
        {"guests:\n  g: {run: true}\n", 2, "guests.g", "\"wasm\" is missing: the guest's file"},
        {"resources: {r: {path: d}}\n", 1, "resources.r",
         "\"kind\" is missing; the kinds are: file"},
        {"resources: {r: {kind: fiel, path: d}}\n", 1, "resources.r.kind",
         "\"fiel\" is no kind; did you mean \"file\"?"},
        {"resources: {r: {kind: kafka}}\n", 1, "resources.r.kind",
         "\"kafka\" is no kind; the kinds are: file"},
        {"resources: {r: {kind: file}}\n", 1, "resources.r", "\"path\" is missing"},
        {"resources: {r: {kind: file, path: d, pth: e}}\n", 1, "resources.r.pth",
         "did you mean \"path\"?"},
        {"host: {workers: \"${WEIR_TEST_UNSET}\"}\n", 1, "host.workers",
         "the environment has no variable WEIR_TEST_UNSET; set it"},
        {"host: {workers: \"${}\"}\n", 1, "host.workers", "write ${NAME}, or $${"},
        {"host: {workers: \"${A\"}\n", 1, "host.workers", "write ${NAME}, or $${"},
        {"host: {workers: \"${1A}\"}\n", 1, "host.workers", "write ${NAME}, or $${"},
        {"host: {workers: \"${A-x}\"}\n", 1, "host.workers", "write ${NAME}, or $${"},
    };
    unsetenv("WEIR_TEST_UNSET");
    assert_mistakes(mistakes, COUNT_OF(mistakes));
}

static void mistakes_of_reference_are_told(void **state) {
    (void)state;
    static const struct mistake mistakes[] = {
        {RESOURCES GUESTS "subscriptions:\n- {watch: rr, key: k, guest: g}\n", 4,
         "subscriptions[0].watch", "there is no resource \"rr\"; did you mean \"r\"?"},
        {RESOURCES GUESTS "subscriptions:\n- {watch: zoo, key: k, guest: g}\n", 4,
         "subscriptions[0].watch", "there is no resource \"zoo\"; the resources are: r"},
        {GUESTS "subscriptions:\n- {watch: zoo, key: k, guest: g}\n", 3, "subscriptions[0].watch",
         "the file has no resources"},
        {RESOURCES GUESTS "subscriptions:\n- {watch: r, key: k, guest: nobody}\n", 4,
         "subscriptions[0].guest", "there is no guest \"nobody\"; the guests are: g"},
        {RESOURCES GUESTS "subscriptions:\n- {watch: r, guest: g}\n", 4, "subscriptions[0]",
         "\"key\" is missing"},
        {RESOURCES GUESTS "subscriptions:\n- {watch: r, key: \"\", guest: g}\n", 4,
         "subscriptions[0].key", "the text has 0 bytes"},
        {RESOURCES GUESTS "subscriptions:\n- {watch: r, key: k, guest: g, name: a b}\n", 4,
         "subscriptions[0].name", "\"a b\" is not a name"},
        {RESOURCES GUESTS "subscriptions:\n"
                          "- {watch: r, key: k, guest: g, name: n}\n"
                          "- {watch: r, key: k, guest: g}\n"
                          "- {watch: r, key: k, guest: g, name: n}\n",
         6, "subscriptions[2].name", "\"n\" is also the name of the one on line 4"},
        {RESOURCES "guests: {g: {wasm: x, grants: [nothing]}}\n", 2, "guests.g.grants[0]",
         "there is no resource \"nothing\""},
        {RESOURCES "guests: {g: {wasm: x, grants: [r, r]}}\n", 2, "guests.g.grants[1]",
         "\"r\" is granted twice"},
        // A resource with a mistake in it is not also one that does not exist.
        {"resources: {r: {kind: file, path: d, x: 1}}\n" GUESTS
         "subscriptions: [{watch: r, key: k, guest: g}]\n",
         1, "resources.r.x", "no such key"},
        {"resources: {r: {kind: nix}}\n" GUESTS "subscriptions: [{watch: r, key: k, guest: g}]\n",
         1, "resources.r.kind", "is no kind"},
        // A guest's mistake in retry is not repeated for each of its subscriptions.
        {RESOURCES "guests: {g: {wasm: x, retry: {backoff: 50m}}}\n"
                   "subscriptions: [{watch: r, key: k, guest: g}]\n",
         2, "guests.g.retry", "is less than backoff"},
    };
    assert_mistakes(mistakes, COUNT_OF(mistakes));
}

static void all_mistakes_are_told_in_the_files_order(void **state) {
    (void)state;
    struct reading *reading = read_text("subscriptions:\n"           // 1
                                        "  - {watch: a, guest: b}\n" // 2: a, b, key
                                        "guests:\n"
                                        "  g: {wsam: x}\n"          // 4: wsam, wasm missing
                                        "host: {workers: none}\n"); // 5
    assert_int_equal(reading->status, WEIR_INVALID);
    assert_string_equal(reading->err.message, "conf/weir.yaml has 6 mistakes");
    static const uint32_t lines[] = {2, 2, 2, 4, 4, 5};
    assert_int_equal(reading->problems.count, COUNT_OF(lines));
    for (size_t i = 0; i < COUNT_OF(lines); i++) {
        assert_int_equal(reading->problems.items[i].place.line, lines[i]);
    }
    finish(reading);
}

static void mistakes_beyond_the_maximum_are_counted(void **state) {
    (void)state;
    char text[8192] = "host:\n";
    size_t size = strlen(text);
    for (int i = 0; i < WEIR_CONFIG_PROBLEMS_MAX + 17; i++) {
        size += (size_t)snprintf(text + size, sizeof text - size, "  zz%d: 1\n", i);
    }
    struct reading *reading = read_text(text);
    assert_int_equal(reading->problems.count, WEIR_CONFIG_PROBLEMS_MAX);
    assert_int_equal(reading->problems.left_out, 17);
    assert_string_equal(reading->err.message, "conf/weir.yaml has 117 mistakes");
    finish(reading);
}

// ---- bounds ----

// "prefix", then `count` times "item", then "suffix"; a %d in the item is its number.
static char *repeat(const char *prefix, const char *item, int count, const char *suffix) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    fputs(prefix, out);
    const char *number = strstr(item, "%d");
    for (int i = 0; i < count; i++) {
        if (number) {
            fprintf(out, "%.*s%d%s", (int)(number - item), item, i, number + 2);
        } else {
            fputs(item, out);
        }
    }
    fputs(suffix, out);
    fclose(out);
    return text;
}

static void assert_single_problem(char *text, const char *key, const char *message) {
    struct reading *reading = read_text(text);
    assert_int_equal(reading->status, WEIR_INVALID);
    assert_int_equal(reading->problems.count, 1);
    assert_string_equal(reading->problems.items[0].key, key);
    if (!strstr(reading->problems.items[0].message, message)) {
        fail_msg("\"%s\" does not say \"%s\"", reading->problems.items[0].message, message);
    }
    finish(reading);
    free(text);
}

static void too_many_of_anything_is_a_mistake(void **state) {
    (void)state;
    assert_single_problem(
        repeat("resources:\n", "  r%d: {kind: file, path: d}\n", WEIR_CONFIG_RESOURCES_MAX + 1, ""),
        "resources", "1025 entries; at most 1024 are allowed");
    assert_single_problem(repeat("guests:\n", "  g%d: {wasm: d}\n", WEIR_CONFIG_GUESTS_MAX + 1, ""),
                          "guests", "1025 entries");
    assert_single_problem(
        repeat("subscriptions:\n", "- {}\n", WEIR_CONFIG_SUBSCRIPTIONS_MAX + 1, ""),
        "subscriptions", "65537 entries");
    assert_single_problem(
        repeat("guests: {g: {wasm: x, grants: [", "r,", WEIR_CONFIG_GRANTS_MAX + 1, "]}}\n"),
        "guests.g.grants", "1025 entries");
    assert_single_problem(repeat("host: [", "&a%d x,", WEIR_DOCUMENT_ANCHORS_MAX + 1, "]\n"), "",
                          "more than 256 anchors");
    // These would keep libyaml busy for minutes.
    assert_single_problem(repeat("", "%TAG !x%d! t\n", 200000, "---\nhost: {}\n"), "",
                          "more than 16 %TAG directives");
    assert_single_problem(repeat("host:\n", "- \n", WEIR_DOCUMENT_NODES_MAX + 1, ""), "",
                          "more than 1048576 values");
    char name[WEIR_NAME_BYTES_MAX + 1 + sizeof "guests: {: {wasm: x}}\n"];
    snprintf(name, sizeof name, "guests: {%0*d: {wasm: x}}\n", WEIR_NAME_BYTES_MAX + 1, 7);
    struct reading *reading = read_text(name);
    assert_int_equal(reading->problems.count, 1);
    finish(reading);
}

static void as_many_as_allowed_are_read(void **state) {
    (void)state;
    char *text = repeat("resources: {r: {kind: file, path: d}}\nguests: {g: {wasm: x}}\n"
                        "subscriptions:\n",
                        "- {name: s%d, watch: r, key: k, guest: g}\n", 20000, "");
    struct reading *reading = read_good(text);
    assert_int_equal(reading->config.subscription_count, 20000);
    assert_string_equal(reading->config.subscriptions[19999].name, "s19999");
    assert_int_equal(reading->config.guests[0].grant_count, 1);
    finish(reading);
    free(text);
}

static void aliases_that_unfold_without_end_are_cut(void **state) {
    (void)state;
    // 1024 guests that all are one mapping of 10,000 keys: small to write, ten million entries to
    // look at.
    char *bomb = repeat("host: {}\nguests:\n  first: &bomb {", "k%d: 1, ", 10000, "}\n");
    char *text = repeat(bomb, "  g%d: *bomb\n", WEIR_CONFIG_GUESTS_MAX - 1, "");
    struct reading *reading = read_text(text);
    assert_int_equal(reading->status, WEIR_INVALID);
    assert_true(reading->problems.left_out > 0);
    size_t all = reading->problems.count + reading->problems.left_out;
    assert_true(all < 5 * (size_t)WEIR_DOCUMENT_NODES_MAX);
    finish(reading);
    free(text);
    free(bomb);
}

static void values_from_the_environment_are_bounded(void **state) {
    (void)state;
    char *value = repeat("", "0123456789", 7000, "");
    setenv("WEIR_TEST_LONG", value, 1);
    free(value);
    assert_single_problem(strdup("guests: {g: {wasm: \"${WEIR_TEST_LONG}\"}}\n"), "guests.g.wasm",
                          "the value is longer than 65536 bytes");
    unsetenv("WEIR_TEST_LONG");
}

static void a_text_that_is_too_large_is_not_read(void **state) {
    (void)state;
    char *text = calloc(1, WEIR_CONFIG_FILE_BYTES_MAX + 1);
    assert_non_null(text);
    memset(text, '#', WEIR_CONFIG_FILE_BYTES_MAX + 1);
    struct reading *reading =
        read_bytes((struct weir_str){.data = text, .size = WEIR_CONFIG_FILE_BYTES_MAX + 1});
    assert_int_equal(reading->status, WEIR_LIMIT);
    finish(reading);
    free(text);
}

// ---- files ----

static struct reading *read_path(const char *path) {
    struct reading *reading = calloc(1, sizeof *reading);
    assert_non_null(reading);
    reading->status = weir_config_read(path, &reading->config, &reading->problems, &reading->err);
    return reading;
}

static void files_are_read_and_other_things_are_not(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-config-XXXXXX", path[64], fifo[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/weir.yaml", folder);
    snprintf(fifo, sizeof fifo, "%s/fifo", folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("guests: {g: {wasm: sub/g.wasm}}\n", file);
    assert_int_equal(fclose(file), 0);

    struct reading *reading = read_path(path);
    assert_int_equal(reading->status, WEIR_OK);
    char expected[64];
    snprintf(expected, sizeof expected, "%s/sub/g.wasm", folder);
    assert_string_equal(reading->config.guests[0].wasm, expected);
    finish(reading);

    reading = read_path("/nowhere/weir.yaml");
    assert_int_equal(reading->status, WEIR_NOT_FOUND);
    assert_message_has(&reading->err, "cannot open /nowhere/weir.yaml: No such file");
    finish(reading);
    reading = read_path(folder);
    assert_int_equal(reading->status, WEIR_INVALID);
    assert_message_has(&reading->err, "is not a regular file");
    finish(reading);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    reading = read_path(fifo); // nobody writes to it: this must not wait
    assert_int_equal(reading->status, WEIR_INVALID);
    finish(reading);
    assert_int_equal(truncate(path, WEIR_CONFIG_FILE_BYTES_MAX + 1), 0);
    reading = read_path(path);
    assert_int_equal(reading->status, WEIR_LIMIT);
    finish(reading);
    unlink(path);
    unlink(fifo);
    rmdir(folder);
}

// ---- the command line ----

static void a_resource_comes_from_the_command_line(void **state) {
    (void)state;
    struct reading *reading = read_good(RESOURCES GUESTS);
    struct weir_config *config = &reading->config;
    assert_int_equal(weir_config_add_resource(config, "new=file:./a:b=c", &reading->err), WEIR_OK);
    assert_int_equal(config->resource_count, 2);
    // Not below the configuration's folder.
    assert_string_equal(option_of(&config->resources[1], "path"), "./a:b=c");
    // It takes the place of one of that name, and is granted to every guest, once.
    assert_int_equal(weir_config_add_resource(config, "r=file:/else", &reading->err), WEIR_OK);
    assert_int_equal(weir_config_add_resource(config, "r=file:/else", &reading->err), WEIR_OK);
    assert_int_equal(config->resource_count, 2);
    assert_string_equal(option_of(&config->resources[0], "path"), "/else");
    assert_int_equal(config->guests[0].grant_count, 2);
    finish(reading);
}

static void a_bad_definition_changes_nothing(void **state) {
    (void)state;
    static const struct {
        const char *definition, *message;
    } bad[] = {
        {"", "\"\" defines no resource; write NAME=KIND:VALUE, such as my-container=file:./data"},
        {"file:./data", "defines no resource"},
        {"=file:./data", "does not begin with a name"},
        {"a b=file:./data", "does not begin with a name"},
        {"a=fil:./data", "\"fil\" is no kind of resource; did you mean \"file\"?"},
        {"a=kafka:x", "\"kafka\" is no kind of resource; \"weir help\" lists them"},
        {"a=file", "file says nothing of its path; write file:VALUE"},
        {"a=file:", "path: the path is empty"},
        {"a=:x", "\"\" is no kind of resource"},
    };
    struct reading *reading = read_good(RESOURCES GUESTS);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(
            weir_config_add_resource(&reading->config, bad[i].definition, &reading->err),
            WEIR_INVALID);
        assert_message_has(&reading->err, bad[i].message);
        assert_int_equal(reading->config.resource_count, 1);
        assert_int_equal(reading->config.guests[0].grant_count, 0);
    }
    finish(reading);
}

static void a_guest_comes_from_the_command_line(void **state) {
    (void)state;
    struct weir_config config;
    struct weir_error err;
    assert_int_equal(weir_config_init(&config, &err), WEIR_OK);
    assert_int_equal(config.host.grace_ns, 5 * WEIR_NS_PER_S);
    assert_int_equal(weir_config_add_resource(&config, "r=file:d", &err), WEIR_OK);
    assert_int_equal(weir_config_add_guest(&config, "build/hello world.v1.wasm", &err), WEIR_OK);
    const struct weir_guest_config *guest = &config.guests[0];
    assert_string_equal(guest->name, "hello-world.v1");
    assert_string_equal(guest->wasm, "build/hello world.v1.wasm");
    assert_true(guest->run);
    assert_int_equal(guest->grant_count, 1);
    assert_int_equal(guest->bounds.handles, 256);
    assert_int_equal(guest->retry.attempts, 5);
    assert_int_equal(guest->queue.events, 1024);
    // Resources that are named after it are granted too.
    assert_int_equal(weir_config_add_resource(&config, "s=file:d", &err), WEIR_OK);
    assert_int_equal(config.guests[0].grant_count, 2);
    assert_int_equal(weir_config_add_guest(&config, "hello world.v1.wasm", &err), WEIR_INVALID);
    assert_message_has(&err, "there are two guests \"hello-world.v1\"");
    assert_int_equal(weir_config_add_guest(&config, "", &err), WEIR_INVALID);
    assert_int_equal(config.guest_count, 1);
    weir_config_finish(&config);
    weir_config_finish(&config); // twice does no harm
}

static void names_are_checked(void **state) {
    (void)state;
    char name[WEIR_NAME_BYTES_MAX + 2];
    memset(name, 'a', sizeof name);
    assert_true(weir_name_valid((struct weir_str){.data = name, .size = WEIR_NAME_BYTES_MAX}));
    assert_false(weir_name_valid((struct weir_str){.data = name, .size = WEIR_NAME_BYTES_MAX + 1}));
    assert_true(weir_name_valid(WEIR_STR("aZ09._-")));
    for (int byte = 0; byte < 256; byte++) {
        char letter = (char)byte;
        bool is_good = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                       (byte >= 'A' && byte <= 'Z') || byte == '.' || byte == '_' || byte == '-';
        assert_int_equal(weir_name_valid((struct weir_str){.data = &letter, .size = 1}), is_good);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_file_is_read_whole),
        cmocka_unit_test(a_guest_has_its_own_and_its_defaults),
        cmocka_unit_test(grants_at_length_are_read),
        cmocka_unit_test(without_grants_a_guest_has_what_its_subscriptions_watch),
        cmocka_unit_test(a_subscription_starts_from_its_guest),
        cmocka_unit_test(an_anchor_gives_what_it_stands_for),
        cmocka_unit_test(a_byte_order_mark_is_skipped),
        cmocka_unit_test(what_has_no_value_is_as_if_it_were_not_there),
        cmocka_unit_test(variables_are_replaced),
        cmocka_unit_test(a_value_of_the_environment_is_never_shown),
        cmocka_unit_test(mistakes_of_yaml_are_told_with_their_line),
        cmocka_unit_test(mistakes_of_shape_are_told_with_their_key),
        cmocka_unit_test(mistakes_of_value_are_told_with_what_would_be_right),
        cmocka_unit_test(mistakes_of_reference_are_told),
        cmocka_unit_test(all_mistakes_are_told_in_the_files_order),
        cmocka_unit_test(mistakes_beyond_the_maximum_are_counted),
        cmocka_unit_test(too_many_of_anything_is_a_mistake),
        cmocka_unit_test(as_many_as_allowed_are_read),
        cmocka_unit_test(aliases_that_unfold_without_end_are_cut),
        cmocka_unit_test(values_from_the_environment_are_bounded),
        cmocka_unit_test(a_text_that_is_too_large_is_not_read),
        cmocka_unit_test(files_are_read_and_other_things_are_not),
        cmocka_unit_test(a_resource_comes_from_the_command_line),
        cmocka_unit_test(a_bad_definition_changes_nothing),
        cmocka_unit_test(a_guest_comes_from_the_command_line),
        cmocka_unit_test(names_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
