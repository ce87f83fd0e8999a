// SPDX-License-Identifier: Apache-2.0
//
// The contract of provider.h on publishing: what is published to a resource is told to its watches,
// whatever the source makes of it. A store makes a key's value of it and tells that; a topic passes
// the event on. So the cases look at what both keep: the key, the data, and the chain.
#include "contract/rig.h"

#include "support/folder.h"

#include <stdio.h>

// What is to be published; what is left out is left out of the event.
struct draft {
    const char *id; // NULL: one that no other has
    const char *type, *subject;
    struct weir_str subject_bytes; // in place of subject
    bool has_data;
    struct weir_str data;
    const char *encoding; // of the subject
    bool is_chained;
};

static struct weir_event *event_of(const struct draft *draft) {
    static unsigned number;
    char id[24];
    struct weir_error err;
    snprintf(id, sizeof id, "id-%u", ++number);
    struct weir_attribute extensions[4];
    size_t count = 0;
    if (draft->encoding) {
        extensions[count++] =
            (struct weir_attribute){WEIR_STR("subjectencoding"), weir_str_of(draft->encoding)};
    }
    if (draft->is_chained) {
        extensions[count++] = (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_CAUSATION),
                                                      WEIR_STR("orders/1@\xc3\xa4")};
        extensions[count++] =
            (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_CORRELATION), WEIR_STR("first")};
        extensions[count++] =
            (struct weir_attribute){WEIR_STR(WEIR_EXTENSION_HOPS), WEIR_STR("12")};
    }
    struct weir_str subject = draft->subject ? weir_str_of(draft->subject) : draft->subject_bytes;
    struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = weir_str_of(draft->type ? draft->type : WEIR_TYPE_KEYVALUE_SET),
        .source = WEIR_STR("/elsewhere"),
        .id = weir_str_of(draft->id ? draft->id : id),
        .subject = {.is_some = subject.data != NULL, .value = subject},
        .data = {.is_some = draft->has_data, .value = weir_payload_of(draft->data)},
        .extensions = {.items = extensions, .count = count},
    };
    struct weir_event *event;
    // Under another key than its own, as an event that a handler returned has.
    assert_ok(weir_event_new(&fields, WEIR_STR("cause"), &event, &err));
    return event;
}

static weir_status try_publish(const struct rig *rig, const struct draft *draft,
                               struct weir_error *err) {
    struct weir_event *event = event_of(draft);
    weir_status status = rig->provider->publish(rig->resource, event, err);
    weir_event_unref(event);
    return status;
}

static void publish(const struct rig *rig, const struct draft *draft) {
    struct weir_error err;
    assert_ok(try_publish(rig, draft, &err));
}

static void publish_value(const struct rig *rig, const char *subject, const char *value) {
    publish(rig, &(struct draft){.subject = subject, .has_data = true, .data = weir_str_of(value)});
}

static void check_event(const struct weir_event *event, struct weir_str key, struct weir_str data) {
    struct weir_error err;
    assert_ok(weir_event_fields_check(&event->fields, &err));
    assert_true(weir_str_equal(event->key, key));
    assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_SET)));
    assert_true(weir_str_equal(event->fields.data.value.bytes, data));
    assert_false(event->is_gap);
}

static void what_is_published_is_told(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch(rig, "*");
    const struct draft drafts[] = {
        {.subject = "k", .has_data = true, .data = WEIR_STR("text")},
        {.subject = "d/e/k", .has_data = true, .data = {"\0\xff", 2}},
        {.subject = "d/e/k", .has_data = true, .data = WEIR_STR("")},
        {.subject = "none"},
        {.subject = "other", .type = "com.example.paid", .has_data = true, .data = WEIR_STR("{}")},
    };
    for (size_t i = 0; i < COUNT_OF(drafts); i++) {
        publish(rig, &drafts[i]);
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->key, weir_str_of(drafts[i].subject)));
        assert_true(weir_str_equal(event->fields.data.value.bytes, drafts[i].data));
        assert_int_equal(weir_event_extension(&event->fields, WEIR_EXTENSION_HOPS).size, 0);
        if (rig_can(rig, WEIR_CAN_GET)) {
            rig_check_value(rig, event->key, drafts[i].data);
        }
    }
    rig->provider->unwatch(watch);
}

static void every_odd_key_can_be_published(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch(rig, "*");
    for (size_t i = 0; i < RIG_ODD_KEYS; i++) {
        char coded[64], value[16];
        size_t size = 0;
        snprintf(value, sizeof value, "%zu", i);
        for (size_t at = 0; at < rig_odd_keys[i].size; at++) {
            size += (size_t)snprintf(coded + size, sizeof coded - size, "%%%02x",
                                     (unsigned char)rig_odd_keys[i].data[at]);
        }
        publish(rig, &(struct draft){.subject = coded,
                                     .encoding = "percent",
                                     .has_data = true,
                                     .data = weir_str_of(value)});
        check_event(test_sink_next(&rig->sink), rig_odd_keys[i], weir_str_of(value));
        if (weir_utf8_valid(rig_odd_keys[i])) { // as it stands it is the same key
            publish(rig, &(struct draft){.subject_bytes = rig_odd_keys[i],
                                         .has_data = true,
                                         .data = WEIR_STR("again")});
            check_event(test_sink_next(&rig->sink), rig_odd_keys[i], WEIR_STR("again"));
        }
        publish(rig, &(struct draft){.subject = coded,
                                     .encoding = "percent",
                                     .type = WEIR_TYPE_KEYVALUE_DELETED});
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_true(weir_str_equal(event->key, rig_odd_keys[i]));
        assert_true(weir_str_equal(event->fields.ty, WEIR_STR(WEIR_TYPE_KEYVALUE_DELETED)));
    }
    // Without the extension a percent sign is one.
    publish_value(rig, "100%25", "v");
    check_event(test_sink_next(&rig->sink), WEIR_STR("100%25"), WEIR_STR("v"));
    rig->provider->unwatch(watch);
}

static void a_chain_goes_through(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch(rig, "*");
    for (int i = 0; i < 4; i++) {
        bool is_chained = i % 2 == 0;
        publish(rig, &(struct draft){.subject = i < 2 ? "a" : "d/b",
                                     .has_data = true,
                                     .data = i % 3 ? WEIR_STR("one") : WEIR_STR(""),
                                     .is_chained = is_chained});
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_str_equal(test_extension(event, WEIR_EXTENSION_CAUSATION),
                         is_chained ? "orders/1@\xc3\xa4" : "");
        assert_str_equal(test_extension(event, WEIR_EXTENSION_CORRELATION),
                         is_chained ? "first" : "");
        assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS), is_chained ? "12" : "");
    }
    rig->provider->unwatch(watch);
}

static void what_can_never_be_published_is_invalid(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_error err;
    char longest[WEIR_KEY_BYTES_MAX + 2];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    const struct draft drafts[] = {
        {.subject = longest},
        {.subject_bytes = {"a\0b", 3}},
        {.subject = "%4", .encoding = "percent"},
        {.subject = "%", .encoding = "percent"},
        {.subject = "%zz", .encoding = "percent"},
        {.subject = "a%00", .encoding = "percent"},
        {.subject = longest, .encoding = "percent"},
        {.subject = "%zz", .encoding = "percent", .type = WEIR_TYPE_KEYVALUE_DELETED},
    };
    struct weir_watch *watch = rig_watch(rig, "*");
    for (size_t i = 0; i < COUNT_OF(drafts); i++) {
        assert_int_equal(try_publish(rig, &drafts[i], &err), WEIR_INVALID);
        assert_int_equal(err.status, WEIR_INVALID);
        assert_message_has(&err, "subject");
        assert_int_equal(try_publish(rig, &drafts[i], NULL), WEIR_INVALID);
    }
    // A store has no place for it, a topic has; others may or may not.
    weir_status status = try_publish(rig, &(struct draft){.id = "no subject"}, &err);
    assert_true(status == WEIR_INVALID || (status == WEIR_OK && !rig_can(rig, WEIR_CAN_SET)));
    if (status) {
        assert_message_has(&err, "no subject");
    } else {
        assert_int_equal(test_sink_next(&rig->sink)->key.size, 0);
    }
    publish_value(rig, "k", "v");
    check_event(test_sink_next(&rig->sink), WEIR_STR("k"), WEIR_STR("v"));
    rig->provider->unwatch(watch);
}

static void a_deletion_is_published(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch(rig, "*");
    const struct draft deletion = {.subject = "d/k", .type = WEIR_TYPE_KEYVALUE_DELETED};
    if (rig_can(rig, WEIR_CAN_SET)) { // a key that is not there is removed already
        publish(rig, &deletion);
    }
    publish_value(rig, "d/k", "v");
    check_event(test_sink_next(&rig->sink), WEIR_STR("d/k"), WEIR_STR("v"));
    publish(rig, &deletion);
    test_sink_expect_deleted(&rig->sink, "d/k");
    if (rig_can(rig, WEIR_CAN_GET)) {
        struct weir_value got;
        assert_int_equal(
            rig->provider->get(rig->resource, WEIR_STR("d/k"), &rig_limits, &got, NULL),
            WEIR_NOT_FOUND);
        publish(rig, &deletion);
    }
    rig->provider->unwatch(watch);
}

static void what_is_published_is_told_in_order(void **state) {
    struct rig *rig = rig_of(state);
    enum { EVENTS = 300, KEYS = 3 };
    struct weir_watch *watch = rig_watch(rig, "*");
    char key[8], id[16], value[16];
    for (int i = 1; i <= EVENTS; i++) {
        snprintf(key, sizeof key, "k%d", i % KEYS);
        snprintf(id, sizeof id, "%d", i);
        snprintf(value, sizeof value, "%d", i);
        publish(rig, &(struct draft){
                         .id = id, .subject = key, .has_data = true, .data = weir_str_of(value)});
    }
    int last[KEYS] = {0};
    // What is overwritten may be left out; what is last may not.
    while (last[0] < EVENTS || last[1] < EVENTS - 2 || last[2] < EVENTS - 1) {
        const struct weir_event *event = test_sink_next(&rig->sink);
        snprintf(value, sizeof value, "%.*s", WEIR_STR_ARG(event->fields.data.value.bytes));
        int number = atoi(value);
        assert_in_range(number, last[number % KEYS] + 1, EVENTS);
        last[number % KEYS] = number;
    }
    rig->provider->unwatch(watch);
}

static void publishing_reaches_who_watches_it(void **state) {
    struct rig *rig = rig_of(state);
    const char *patterns[] = {"*", "a/*", "a/1", "b"};
    const char *keys[] = {"a/1", "a/2", "b", "c", "last/of/all"};
    struct test_sink sinks[COUNT_OF(patterns)];
    struct weir_watch *watches[COUNT_OF(patterns)];
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        test_sink_init(&sinks[i]);
        watches[i] =
            rig_watch_into(rig, rig->resource, patterns[i], &sinks[i], RIG_EVENT_BYTES_MAX);
    }
    for (size_t k = 0; k < COUNT_OF(keys); k++) {
        publish_value(rig, keys[k], "v");
    }
    for (size_t i = 0; i < COUNT_OF(patterns); i++) {
        struct weir_pattern pattern = weir_pattern_of(weir_str_of(patterns[i]));
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            if (weir_pattern_matches(&pattern, weir_str_of(keys[k]))) {
                check_event(test_sink_next(&sinks[i]), weir_str_of(keys[k]), WEIR_STR("v"));
            }
        }
        rig->provider->unwatch(watches[i]);
        assert_int_equal(test_sink_count(&sinks[i]), sinks[i].next);
        test_sink_finish(&sinks[i]);
    }
    publish_value(rig, "k", "nobody watches");
}

static void an_event_that_is_too_large_for_a_watch_is_told_without_data(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch_into(rig, rig->resource, "*", &rig->sink, 8);
    const char *values[] = {"12345678", "123456789"};
    for (int i = 0; i < 2; i++) {
        publish(rig, &(struct draft){.subject = "k",
                                     .has_data = true,
                                     .data = weir_str_of(values[i]),
                                     .is_chained = true});
        const struct weir_event *event = test_sink_next(&rig->sink);
        assert_int_equal(event->fields.data.is_some, i == 0);
        assert_str_equal(test_extension(event, "dataomitted"), i == 0 ? "" : "size");
        assert_str_equal(test_extension(event, "datasize"), i == 0 ? "" : "9");
        assert_str_equal(test_extension(event, WEIR_EXTENSION_HOPS), "12");
    }
    rig->provider->unwatch(watch);
}

static void publishing_leaves_nothing_behind(void **state) {
    struct rig *rig = rig_of(state);
    struct weir_watch *watch = rig_watch(rig, "none");
    const struct draft drafts[] = {
        {.subject = "k", .has_data = true, .data = WEIR_STR("v"), .is_chained = true},
        {.subject = "k", .type = WEIR_TYPE_KEYVALUE_DELETED},
        {.subject = "%zz", .encoding = "percent"},
    };
    publish_value(rig, "k", "v");
    size_t fds = test_count_fds(), threads = test_count_threads();
    for (int i = 0; i < 300; i++) {
        try_publish(rig, &drafts[i % 3], NULL);
    }
    assert_int_equal(test_sink_offers(&rig->sink), 0);
    rig->provider->unwatch(watch);
    watch = rig_watch(rig, "none"); // whatever was to be done is done now
    assert_in_range(test_count_fds(), 0, fds);
    assert_in_range(test_count_threads(), 0, threads);
    rig->provider->unwatch(watch);
}

int main(void) {
    const struct CMUnitTest published[] = {
        RIG_CASE(what_is_published_is_told),
        RIG_CASE(every_odd_key_can_be_published),
        RIG_CASE(a_chain_goes_through),
        RIG_CASE(what_can_never_be_published_is_invalid),
        RIG_CASE(a_deletion_is_published),
        RIG_CASE(what_is_published_is_told_in_order),
        RIG_CASE(publishing_reaches_who_watches_it),
        RIG_CASE(an_event_that_is_too_large_for_a_watch_is_told_without_data),
        RIG_CASE(publishing_leaves_nothing_behind),
    };
    return rig_run("publishing",
                   (struct rig_needs){.capabilities = WEIR_CAN_WATCH | WEIR_CAN_PUBLISH}, published,
                   COUNT_OF(published));
}
