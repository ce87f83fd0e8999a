// SPDX-License-Identifier: Apache-2.0
//
// Logging in, rights and TLS: what is missing is told by name, with what mends it; and taking away
// what was made. The server of this program asks for passwords, and has TLS.
#include "support/postgres_rig.h"
#include "unit/test.h"

#include "config/secret.h"
#include "provider/postgres/postgres.h"
#include "support/folder.h"

#include <stdlib.h>

static const struct weir_limits limits = {.value_bytes_max = 1 << 20, .until_ns = INT64_MAX};

#define PASSWORD "Sesame123"

static int setup(void **state) {
    const struct test_server_args args = {.password = PASSWORD};
    struct postgres_rig *rig = postgres_rig_create(&args);
    if (rig) {
        setenv("WEIR_TEST_PASSWORD", PASSWORD, 1);
        setenv("WEIR_TEST_WRONG", "not it", 1);
        postgres_rig_set(&rig->options.password, "env:WEIR_TEST_PASSWORD");
    }
    *state = rig;
    return 0;
}

static weir_status get(struct postgres_rig *rig, struct weir_error *err) {
    struct weir_value value;
    weir_status status =
        weir_postgres_provider.get(rig->resource, WEIR_STR("k"), &limits, &value, err);
    if (status == WEIR_OK) {
        free(value.data);
    }
    return status;
}

// ---- logging in ----

static void a_password_is_read_at_each_connect(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    const struct {
        const char *password;
        weir_status status;
        const char *text;
    } rows[] = {
        {"env:WEIR_TEST_WRONG", WEIR_DENIED, "password authentication failed"},
        {NULL, WEIR_DENIED, "no password supplied"},
        {"env:WEIR_TEST_ABSENT", WEIR_NOT_FOUND, "WEIR_TEST_ABSENT"},
        {"file:/no/such/file", WEIR_NOT_FOUND, "/no/such/file"},
    };
    postgres_rig_set(&rig->options.kv, "kv");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        static struct postgres_sub sub;
        postgres_rig_set(&rig->options.password, rows[i].password);
        postgres_rig_open(rig);
        assert_int_equal(get(rig, &err), rows[i].status);
        assert_message_has(&err, rows[i].text);
        postgres_sub_init(&sub, rig, "sub", "*");
        assert_int_equal(postgres_sub_try_begin(&sub, &err), rows[i].status);
        assert_message_has(&err, rows[i].text);
        assert_null(strstr(err.message, "not it"));
        postgres_sub_finish(&sub);
        postgres_rig_close(rig);
    }
    setenv("WEIR_TEST_CHANGING", "not it", 1);
    postgres_rig_set(&rig->options.password, "env:WEIR_TEST_CHANGING");
    postgres_rig_open(rig);
    assert_int_equal(get(rig, &err), WEIR_DENIED);
    setenv("WEIR_TEST_CHANGING", PASSWORD, 1);
    assert_int_equal(get(rig, &err), WEIR_NOT_FOUND);
    assert_false(postgres_rig_has_logged(rig, PASSWORD));
}

static void a_database_that_is_not_there_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_set(&rig->options.database, "nowhere");
    postgres_rig_open(rig);
    assert_int_equal(get(rig, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "nowhere");
}

static void the_unix_socket_works_too(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    char address[512];
    snprintf(address, sizeof address, "%s:%u", test_server_socket(rig->server),
             test_server_port(rig->server));
    postgres_rig_set(&rig->options.address, address);
    postgres_rig_set(&rig->options.database, TEST_POSTGRES_DATABASE);
    postgres_rig_set(&rig->options.password, NULL);
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
    assert_int_equal(get(rig, &err), WEIR_NOT_FOUND);
}

static void a_server_without_tls_is_refused_where_tls_is_wanted(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct weir_error err;
    postgres_rig_set(&rig->options.kv, "kv");
    for (int tls = WEIR_PG_TLS_VERIFY_FULL; tls <= WEIR_PG_TLS_REQUIRE; tls++) {
        rig->options.tls = tls;
        postgres_rig_open(rig);
        assert_int_equal(get(rig, &err), WEIR_UNAVAILABLE);
        assert_message_has(&err, "SSL");
        postgres_rig_close(rig);
    }
}

static weir_status get_by(struct postgres_rig *rig, const char *host, enum weir_pg_tls tls,
                          const char *ca, struct weir_error *err) {
    char address[128];
    snprintf(address, sizeof address, "%s:%u/" TEST_POSTGRES_DATABASE, host,
             test_server_port(rig->server));
    postgres_rig_set(&rig->options.address, address);
    postgres_rig_set(&rig->options.tls_ca, ca);
    rig->options.tls = tls;
    postgres_rig_open(rig);
    weir_status status = get(rig, err);
    postgres_rig_close(rig);
    return status;
}

// The certificate is for "localhost", and signs itself.
static void a_certificate_is_verified(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    struct test_folder folder;
    struct weir_error err;
    char ca[TEST_PATH_BYTES];
    postgres_rig_sql(rig, "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; openssl req -x509 -newkey "
                          "ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "
                          "/CN=localhost -addext subjectAltName=DNS:localhost -keyout server.key "
                          "-out server.crt 2> /dev/null && chmod 600 server.key'");
    postgres_rig_sql(rig, "ALTER SYSTEM SET ssl = on");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
    WAIT_UNTIL(postgres_rig_is(rig, "SELECT current_setting('ssl')", "on"));
    char *certificate = postgres_rig_ask(rig, "SELECT pg_read_file('server.crt')");
    test_folder_init(&folder);
    test_write(&folder, "ca.pem", certificate);
    test_path(&folder, "ca.pem", ca);
    postgres_rig_set(&rig->options.kv, "kv");
    assert_int_equal(get_by(rig, "localhost", WEIR_PG_TLS_VERIFY_FULL, ca, &err), WEIR_NOT_FOUND);
    assert_int_equal(get_by(rig, "localhost", WEIR_PG_TLS_VERIFY_FULL, NULL, &err),
                     WEIR_UNAVAILABLE);
    assert_message_has(&err, "certificate");
    assert_int_equal(get_by(rig, "127.0.0.1", WEIR_PG_TLS_VERIFY_FULL, ca, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "127.0.0.1");
    assert_int_equal(get_by(rig, "127.0.0.1", WEIR_PG_TLS_REQUIRE, NULL, &err), WEIR_NOT_FOUND);
    assert_int_equal(get_by(rig, "127.0.0.1", WEIR_PG_TLS_AUTO, NULL, &err), WEIR_NOT_FOUND);
    assert_int_equal(get_by(rig, "127.0.0.1", WEIR_PG_TLS_OFF, NULL, &err), WEIR_NOT_FOUND);
    // A stream through it: what is left in the library's buffer is not waited for in poll.
    static struct postgres_sub sub;
    rig->options.tls = WEIR_PG_TLS_REQUIRE;
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "*");
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO kv SELECT convert_to('k' || g, 'UTF8'), "
                          "decode(repeat('ab', g % 5000), 'hex') FROM generate_series(1, 3000) g");
    test_sink_await_count(&sub.sink, 3000);
    postgres_sub_finish(&sub);
    postgres_rig_close(rig);
    postgres_rig_sql(rig, "ALTER SYSTEM RESET ssl");
    postgres_rig_sql(rig, "SELECT pg_reload_conf()");
    free(certificate);
    test_folder_finish(&folder);
}

// ---- rights ----

enum { FINDINGS_BYTES = 16384 };

struct found {
    char text[FINDINGS_BYTES]; // a line each: "MISTAKE: what -> remedy"
    size_t mistakes;
};

static void note(void *context, const struct weir_finding *finding) {
    struct found *found = context;
    size_t used = strlen(found->text);
    found->mistakes += finding->is_mistake;
    snprintf(found->text + used, sizeof found->text - used, "%s: %s -> %s\n",
             finding->is_mistake ? "MISTAKE" : "good", finding->what,
             finding->remedy ? finding->remedy : "");
}

static void examine(struct postgres_rig *rig, const char *key, struct found *found) {
    struct weir_error err;
    const struct weir_findings findings = {.tell = note, .context = found};
    const struct weir_pattern pattern = weir_pattern_of(weir_str_of(key));
    *found = (struct found){.mistakes = 0};
    assert_ok(weir_postgres_provider.examine(rig->resource, &pattern, 1, &findings, &err));
}

static void expect_found(const struct found *found, const char *text) {
    if (!strstr(found->text, text)) {
        fail_msg("\"%s\" is not among:\n%s", text, found->text);
    }
}

static void make_limited_user(struct postgres_rig *rig) {
    postgres_rig_sql(rig, "DROP ROLE IF EXISTS limited");
    postgres_rig_sql(rig, "CREATE ROLE limited LOGIN PASSWORD '" PASSWORD "'");
    postgres_rig_set(&rig->options.user, "limited");
}

static void what_a_user_lacks_is_told_with_what_mends_it(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct found found;
    static struct postgres_sub sub;
    struct weir_error err;
    make_limited_user(rig);
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    postgres_rig_open(rig);
    examine(rig, "t/*", &found);
    expect_found(&found, "-> GRANT USAGE ON SCHEMA \"public\" TO \"limited\"");
    postgres_rig_sql(rig, "GRANT USAGE ON SCHEMA public TO limited");
    examine(rig, "t/*", &found);
    expect_found(&found, "MISTAKE: the user \"limited\" may not replicate");
    expect_found(&found, "-> ALTER ROLE \"limited\" REPLICATION");
    expect_found(&found, "GRANT CREATE ON DATABASE \"postgres\" TO \"limited\"");
    expect_found(&found, "MISTAKE: a replication connection is refused");
    expect_found(&found, "GRANT SELECT ON \"public\".\"t\" TO \"limited\"");
    expect_found(&found, "PUBLICATION \"weir_db\" FOR TABLE \"public\".\"t\"");
    expect_found(&found, "max_slot_wal_keep_size is unlimited");
    postgres_sub_init(&sub, rig, "sub", "t");
    assert_int_equal(postgres_sub_try_begin(&sub, &err), WEIR_DENIED);
    // What the remedies say, and nothing more.
    postgres_rig_sql(rig, "ALTER ROLE limited REPLICATION");
    postgres_rig_sql(rig, "GRANT SELECT ON t TO limited");
    postgres_rig_sql(rig, "CREATE PUBLICATION weir_db FOR TABLE t");
    examine(rig, "t/*", &found);
    if (found.mistakes > 0) {
        fail_msg("%s", found.text);
    }
    postgres_sub_begin(&sub);
    postgres_rig_sql(rig, "INSERT INTO t VALUES (1)");
    assert_str_equal(test_sink_next(&sub.sink)->key, "t/1");
    postgres_sub_finish(&sub);
}

static void a_store_needs_no_replication_to_be_read(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct found found;
    struct weir_error err;
    make_limited_user(rig);
    postgres_rig_sql(rig, "CREATE TABLE kv (key text PRIMARY KEY, value text)");
    postgres_rig_sql(rig, "GRANT USAGE ON SCHEMA public TO limited");
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
    const struct weir_findings findings = {.tell = note, .context = &found};
    found = (struct found){.mistakes = 0};
    assert_ok(weir_postgres_provider.examine(rig->resource, NULL, 0, &findings, &err));
    assert_int_equal(found.mistakes, 1);
    expect_found(&found, "GRANT SELECT, INSERT, UPDATE, DELETE ON \"public\".\"kv\"");
    assert_int_equal(get(rig, &err), WEIR_DENIED);
    postgres_rig_sql(rig, "GRANT SELECT, INSERT, UPDATE, DELETE ON kv TO limited");
    assert_ok(
        weir_postgres_provider.set(rig->resource, WEIR_STR("k"), WEIR_STR("v"), &limits, &err));
    assert_ok(get(rig, &err));
}

static void a_table_that_is_no_store_is_told(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct found found;
    postgres_rig_sql(rig, "CREATE TABLE kv (key int PRIMARY KEY, value text)");
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
    examine(rig, "*", &found);
    assert_int_equal(found.mistakes, 1);
    expect_found(&found, "MISTAKE: the table kv is no store");
}

static void examining_changes_nothing(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct found found;
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    postgres_rig_open(rig);
    examine(rig, "t", &found);
    assert_int_equal(found.mistakes, 0);
    expect_found(&found, "the replication slot \"weir_db\" is made by the first subscription");
    examine(rig, "absent", &found);
    expect_found(&found, "MISTAKE: there is no table absent");
    examine(rig, "*", &found);
    expect_found(&found, "MISTAKE: the key \"*\" does not name one table");
    postgres_rig_close(rig);
    postgres_rig_set(&rig->options.kv, "kv");
    postgres_rig_open(rig);
    examine(rig, "*", &found);
    expect_found(&found, "good: the table kv is made when it is first used");
    assert_true(postgres_rig_is(
        rig,
        "SELECT ((SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM "
        "pg_replication_slots) + (SELECT count(*) FROM pg_class WHERE relname = 'kv'))::text",
        "0"));
}

// ---- taking away ----

static void what_was_made_is_taken_away(void **state) {
    struct postgres_rig *rig = postgres_rig_of(state);
    static struct found found;
    static struct postgres_sub sub;
    struct weir_error err;
    const struct weir_findings findings = {.tell = note, .context = &found};
    postgres_rig_sql(rig, "CREATE TABLE t (id int PRIMARY KEY)");
    postgres_rig_open(rig);
    postgres_sub_init(&sub, rig, "sub", "t");
    postgres_sub_begin(&sub);
    postgres_sub_finish(&sub);
    postgres_rig_close(rig);
    postgres_rig_open(rig);
    WAIT_UNTIL(postgres_rig_is(rig, "SELECT active::text FROM pg_replication_slots", "false"));
    assert_ok(weir_postgres_provider.withdraw(rig->resource, &findings, &err));
    expect_found(&found, "dropped the replication slot \"weir_db\"");
    expect_found(&found, "dropped the publication \"weir_db\"");
    assert_true(
        postgres_rig_is(rig,
                        "SELECT ((SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM "
                        "pg_replication_slots))::text",
                        "0"));
    assert_true(postgres_rig_is(rig, "SELECT to_regclass('t')::text", "t")); // people's own stay
    // Twice is once; and what others made is left.
    found = (struct found){.mistakes = 0};
    postgres_rig_sql(rig, "CREATE PUBLICATION weir_db");
    assert_ok(weir_postgres_provider.withdraw(rig->resource, &findings, &err));
    expect_found(&found, "left the publication \"weir_db\"");
    assert_true(postgres_rig_is(rig, "SELECT count(*)::text FROM pg_publication", "1"));
}

int main(void) {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, postgres_rig_teardown)
    const struct CMUnitTest cases[] = {
        CASE(a_password_is_read_at_each_connect),
        CASE(a_database_that_is_not_there_is_told),
        CASE(the_unix_socket_works_too),
        CASE(a_server_without_tls_is_refused_where_tls_is_wanted),
        CASE(a_certificate_is_verified),
        CASE(what_a_user_lacks_is_told_with_what_mends_it),
        CASE(a_store_needs_no_replication_to_be_read),
        CASE(a_table_that_is_no_store_is_told),
        CASE(examining_changes_nothing),
        CASE(what_was_made_is_taken_away),
    };
    return cmocka_run_group_tests_name("PostgreSQL, access", cases, NULL, NULL);
}
