// SPDX-License-Identifier: Apache-2.0
//
// Grants: verb by verb and key by key, what a refusal says, and that it is counted.
#include "access/access.h"
#include "unit/flow/stage.h"
#include "unit/test.h"

#define FUNCTIONS weir_access_functions

struct cast {
    struct fake_source store, secret;
    struct weir_access *access;
};

static void begin(struct cast *cast, struct weir_grant *grants, size_t count) {
    const struct weir_guest_config config = {
        .name = (char[]){"hello"}, .grants = grants, .grant_count = count};
    const struct weir_access_args args = {.guest = &config};
    fake_source_init(&cast->store, "store");
    fake_source_init(&cast->secret, "secret");
    struct weir_resource *resources[] = {&cast->store.base, &cast->secret.base};
    assert_int_equal(weir_access_create(&args, &cast->access, NULL), WEIR_OK);
    assert_int_equal(weir_access_bind(cast->access, resources, COUNT_OF(resources), NULL), WEIR_OK);
}

static void end(struct cast *cast) {
    weir_access_unref(cast->access);
    fake_source_finish(&cast->store);
    fake_source_finish(&cast->secret);
}

static void a_grant_is_for_its_verbs_and_keys(void **state) {
    (void)state;
    struct weir_grant grants[] = {
        {.resource = (char[]){"store"}, .verbs = WEIR_VERB_GET | WEIR_VERB_LIST},
        {.resource = (char[]){"store"}, .verbs = WEIR_VERB_SET, .keys = (char[]){"a/*"}},
        {.resource = (char[]){"store"}, .verbs = WEIR_VERB_DELETE, .keys = (char[]){"one"}},
        {.resource = (char[]){"nowhere"}, .verbs = WEIR_VERBS_ALL},
    };
    static const struct {
        uint32_t verb;
        const char *pattern;
        bool is_allowed;
    } rows[] = {
        {WEIR_VERB_GET, "k", true},        {WEIR_VERB_GET, "", true},
        {WEIR_VERB_GET, "*", true},        {WEIR_VERB_LIST, "a*", true},
        {WEIR_VERB_WATCH, "k", false},     {WEIR_VERB_PUBLISH, "k", false},
        {WEIR_VERB_SET, "a/b", true},      {WEIR_VERB_SET, "a/", true},
        {WEIR_VERB_SET, "a/*", true},      {WEIR_VERB_SET, "a/b/*", true},
        {WEIR_VERB_SET, "a", false},       {WEIR_VERB_SET, "a*", false},
        {WEIR_VERB_SET, "*", false},       {WEIR_VERB_SET, "b/a/", false},
        {WEIR_VERB_DELETE, "one", true},   {WEIR_VERB_DELETE, "one*", false},
        {WEIR_VERB_DELETE, "ones", false}, {WEIR_VERB_DELETE, "on", false},
        {WEIR_VERB_DELETE, "", false},
    };
    struct cast cast;
    begin(&cast, grants, COUNT_OF(grants));
    uint64_t refused = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_error err;
        weir_status status =
            weir_access_check(cast.access, 0, rows[i].verb, weir_str_of(rows[i].pattern), &err);
        assert_int_equal(status, rows[i].is_allowed ? WEIR_OK : WEIR_DENIED);
        refused += !rows[i].is_allowed;
        if (!rows[i].is_allowed) {
            assert_message_has(&err, "guest hello has no grant to ");
            assert_message_has(&err, weir_verb_name(rows[i].verb));
        }
        assert_int_equal(
            weir_access_check(cast.access, 1, rows[i].verb, weir_str_of(rows[i].pattern), NULL),
            WEIR_DENIED);
        refused++;
        assert_int_equal(weir_access_refused(cast.access), refused);
    }
    end(&cast);
}

static void without_grants_all_is_denied(void **state) {
    (void)state;
    struct cast cast;
    struct weir_error err;
    uint32_t index;
    begin(&cast, NULL, 0);
    assert_int_equal(
        FUNCTIONS.open(cast.access, WEIR_STR("store"), WEIR_GUEST_USE_STORE, &index, &err),
        WEIR_DENIED);
    assert_message_has(&err, "it has grants for: none");
    assert_int_equal(
        FUNCTIONS.open(cast.access, WEIR_STR("no"), WEIR_GUEST_USE_TOPIC, &index, &err),
        WEIR_NOT_FOUND);
    struct weir_value value;
    const struct weir_limits limits = {.value_bytes_max = 10, .until_ns = INT64_MAX};
    assert_int_equal(FUNCTIONS.get(cast.access, 0, WEIR_STR("k"), &limits, &value, &err),
                     WEIR_DENIED);
    assert_int_equal(FUNCTIONS.set(cast.access, 0, WEIR_STR("k"), WEIR_STR("v"), &limits, &err),
                     WEIR_DENIED);
    assert_int_equal(FUNCTIONS.remove(cast.access, 0, WEIR_STR("k"), &limits, &err), WEIR_DENIED);
    assert_int_equal(FUNCTIONS.update(cast.access, 0, WEIR_STR("k"), &limits, NULL, &err),
                     WEIR_DENIED);
    assert_int_equal(FUNCTIONS.list(cast.access, 0, WEIR_STR(""), &limits, NULL, &err),
                     WEIR_DENIED);
    const struct weir_event_fields event = {.subject = {true, WEIR_STR("k")}};
    assert_int_equal(FUNCTIONS.publish(cast.access, 0, NULL, &event, &err), WEIR_DENIED);
    assert_int_equal(weir_access_refused(cast.access), 7);
    end(&cast);
}

static void what_a_source_cannot_do_is_unsupported(void **state) {
    (void)state;
    struct weir_grant grants[] = {{.resource = (char[]){"store"}, .verbs = WEIR_VERBS_ALL}};
    struct cast cast;
    struct weir_error err;
    struct weir_value value;
    const struct weir_limits limits = {.value_bytes_max = 10, .until_ns = INT64_MAX};
    begin(&cast, grants, COUNT_OF(grants)); // whose source can be watched, and no more
    assert_int_equal(FUNCTIONS.get(cast.access, 0, WEIR_STR("k"), &limits, &value, &err),
                     WEIR_UNSUPPORTED);
    assert_message_has(&err, "resource store");
    assert_int_equal(FUNCTIONS.update(cast.access, 0, WEIR_STR("k"), &limits, NULL, &err),
                     WEIR_UNSUPPORTED);
    assert_int_equal(FUNCTIONS.list(cast.access, 0, WEIR_STR(""), &limits, NULL, &err),
                     WEIR_UNSUPPORTED);
    end(&cast);
}

// ---- SQL

// What the source was asked.
struct asked {
    struct fake_source source;
    const struct weir_sql_statement *statement;
    const struct weir_limits *limits;
    size_t count;
};

static weir_status fake_query(struct weir_resource *resource,
                              const struct weir_sql_statement *statement,
                              const struct weir_limits *limits, struct weir_sql_result *ret_result,
                              struct weir_error *err) {
    struct asked *asked = (struct asked *)(void *)resource;
    (void)err;
    asked->statement = statement;
    asked->limits = limits;
    asked->count++;
    *ret_result = (struct weir_sql_result){.changed = 3};
    return WEIR_OK;
}

static const struct weir_limits sql_limits = {.value_bytes_max = 10, .until_ns = INT64_MAX};

static weir_status ask(struct weir_access *access, const char *database, bool is_reading,
                       uint64_t *ret_changed, struct weir_error *err) {
    const struct weir_sql_statement statement = {.text = WEIR_STR("select 1"),
                                                 .is_reading = is_reading};
    struct weir_sql_result result = {.row_count = 99};
    weir_status status =
        FUNCTIONS.query(access, weir_str_of(database), &statement, &sql_limits, &result, err);
    *ret_changed = result.changed;
    assert_int_equal(result.row_count, 0); // of a failure too
    return status;
}

// `grants` are of "base", which takes SQL, and of "plain", which does not.
static struct weir_access *begin_sql(struct asked *asked, struct fake_source *plain,
                                     struct weir_grant *grants, size_t count) {
    const struct weir_guest_config config = {
        .name = (char[]){"hello"}, .grants = grants, .grant_count = count};
    const struct weir_access_args args = {.guest = &config};
    struct weir_access *access;
    *asked = (struct asked){.count = 0};
    fake_source_init(&asked->source, "base");
    asked->source.provider.query = fake_query;
    fake_source_init(plain, "plain");
    struct weir_resource *resources[] = {&asked->source.base, &plain->base};
    assert_int_equal(weir_access_create(&args, &access, NULL), WEIR_OK);
    assert_int_equal(weir_access_bind(access, resources, COUNT_OF(resources), NULL), WEIR_OK);
    return access;
}

static void a_database_is_granted_for_reading_or_for_changing(void **state) {
    (void)state;
    static const struct {
        uint32_t verbs;
        const char *keys;
        bool may_query, may_execute;
    } rows[] = {
        {WEIR_VERB_QUERY, NULL, true, false},
        {WEIR_VERB_EXECUTE, NULL, false, true},
        {WEIR_VERBS_ALL, NULL, true, true},
        {WEIR_VERBS_ALL & ~WEIR_VERBS_SQL, NULL, false, false},
        {WEIR_VERBS_ALL, "orders/*", false, false}, // a statement reaches every table
        {WEIR_VERBS_ALL, "orders", false, false},
        {WEIR_VERBS_READ, NULL, false, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_grant grant = {.resource = (char[]){"base"}, .verbs = rows[i].verbs};
        char keys[16] = "";
        if (rows[i].keys) {
            snprintf(keys, sizeof keys, "%s", rows[i].keys);
            grant.keys = keys;
        }
        struct asked asked;
        struct fake_source plain;
        struct weir_access *access = begin_sql(&asked, &plain, &grant, 1);
        for (int reading = 0; reading < 2; reading++) {
            bool is_allowed = reading ? rows[i].may_query : rows[i].may_execute;
            struct weir_error err;
            uint64_t changed;
            size_t before = asked.count;
            assert_int_equal(ask(access, "base", reading, &changed, &err),
                             is_allowed ? WEIR_OK : WEIR_DENIED);
            assert_int_equal(asked.count - before, is_allowed);
            assert_int_equal(changed, is_allowed ? 3 : 0);
            if (is_allowed) {
                assert_ptr_equal(asked.limits, &sql_limits);
            } else {
                assert_message_has(&err, reading ? "no grant to query base by SQL; this would be "
                                                   "one: {resource: base, verbs: [query]}, without "
                                                   "keys"
                                                 : "{resource: base, verbs: [execute]}");
            }
        }
        assert_int_equal(weir_access_refused(access), !rows[i].may_query + !rows[i].may_execute);
        weir_access_unref(access);
        fake_source_finish(&asked.source);
        fake_source_finish(&plain);
    }
}

static void what_takes_no_sql_is_none_of_it(void **state) {
    (void)state;
    struct weir_grant grant = {.resource = (char[]){"plain"}, .verbs = WEIR_VERBS_ALL};
    struct asked asked;
    struct fake_source plain;
    struct weir_access *access = begin_sql(&asked, &plain, &grant, 1);
    struct weir_error err;
    uint64_t changed;
    assert_int_equal(ask(access, "plain", true, &changed, &err), WEIR_UNSUPPORTED);
    assert_message_has(&err, "resource plain, of kind fake, cannot be asked in SQL");
    assert_int_equal(ask(access, "base", true, &changed, &err), WEIR_DENIED);
    assert_message_has(&err, "it has grants for: plain");
    assert_int_equal(ask(access, "nowhere", false, &changed, &err), WEIR_NOT_FOUND);
    assert_message_has(&err, "there is no resource \"nowhere\"");
    assert_int_equal(weir_access_refused(access), 1);
    assert_int_equal(asked.count, 0);
    weir_access_unref(access);
    fake_source_finish(&asked.source);
    fake_source_finish(&plain);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_grant_is_for_its_verbs_and_keys),
        cmocka_unit_test(without_grants_all_is_denied),
        cmocka_unit_test(what_a_source_cannot_do_is_unsupported),
        cmocka_unit_test(a_database_is_granted_for_reading_or_for_changing),
        cmocka_unit_test(what_takes_no_sql_is_none_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
