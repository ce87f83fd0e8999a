// SPDX-License-Identifier: Apache-2.0
//
// Who connects, TLS, and what weir says of a server before it depends on it and when it leaves.
#include "unit/test.h"

#include "provider/nats/resource.h"
#include "support/folder.h"
#include "unit/provider/nats/nats_rig.h"

#include <unistd.h>

// A key pair of NATS' documentation, which is nobody's.
#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define KEY  "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

// A server with this configuration, and options that lead to it.
struct guarded {
    struct test_server *server;
    struct nats_rig rig; // its options alone
};

static void guarded_start(struct guarded *guarded, const char *config) {
    struct weir_error err;
    char url[64];
    *guarded = (struct guarded){0};
    guarded->server = test_server_start(TEST_NATS, &(struct test_server_args){.config = config});
    if (!guarded->server) {
        skip();
    }
    assert_ok(weir_options_init(&weir_nats_option_table, &guarded->rig.options, &err));
    snprintf(url, sizeof url, "nats://localhost:%u", test_server_port(guarded->server));
    nats_rig_option(&guarded->rig, "server", url);
    nats_rig_option(&guarded->rig, "bucket", "b");
    nats_rig_option(&guarded->rig, "create", "true");
    nats_rig_option(&guarded->rig, "timeout", "2s");
}

static void guarded_stop(struct guarded *guarded) {
    weir_options_finish(&weir_nats_option_table, &guarded->rig.options);
    test_server_stop(guarded->server);
}

static void set(struct guarded *guarded, const char *name, const char *text) {
    nats_rig_option(&guarded->rig, name, text);
}

static void unset(char **text) {
    free(*text);
    *text = NULL;
}

// Whether a resource with these options can be written to.
static weir_status try_set(struct guarded *guarded, struct weir_error *err) {
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &guarded->rig.options};
    weir_status status = weir_nats_provider.open(&args, &resource, err);
    if (status == WEIR_OK) {
        status =
            weir_nats_provider.set(resource, WEIR_STR("k"), WEIR_STR("v"), &nats_rig_limits, err);
    }
    weir_nats_provider.close(resource);
    return status;
}

static void a_password_is_wanted(void **state) {
    (void)state;
    struct guarded guarded;
    struct weir_error err;
    guarded_start(&guarded, "authorization { user: weir, password: \"right one\" }\n");
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    assert_message_has(&err, "Authorization Violation");
    set(&guarded, "user", "weir");
    set(&guarded, "password", "env:WEIR_TEST_PASSWORD");
    unsetenv("WEIR_TEST_PASSWORD");
    assert_int_not_equal(try_set(&guarded, &err), WEIR_OK);
    assert_message_has(&err, "WEIR_TEST_PASSWORD");
    setenv("WEIR_TEST_PASSWORD", "wrong one", 1);
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    assert_null(strstr(err.message, "wrong one"));
    setenv("WEIR_TEST_PASSWORD", "right one", 1); // which is read anew
    assert_ok(try_set(&guarded, &err));
    unsetenv("WEIR_TEST_PASSWORD");
    guarded_stop(&guarded);
}

static void a_token_is_wanted(void **state) {
    (void)state;
    struct guarded guarded;
    struct weir_error err;
    guarded_start(&guarded, "authorization { token: \"s3cret\" }\n");
    set(&guarded, "token", "env:WEIR_TEST_TOKEN");
    setenv("WEIR_TEST_TOKEN", "s3cret", 1);
    assert_ok(try_set(&guarded, &err));
    setenv("WEIR_TEST_TOKEN", "other", 1);
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    unsetenv("WEIR_TEST_TOKEN");
    guarded_stop(&guarded);
}

static void an_nkey_signs(void **state) {
    (void)state;
    struct guarded guarded;
    struct weir_error err;
    guarded_start(&guarded, "authorization { users: [ { nkey: " KEY " } ] }\n");
    set(&guarded, "nkey", "env:WEIR_TEST_SEED");
    setenv("WEIR_TEST_SEED", SEED, 1);
    assert_ok(try_set(&guarded, &err));
    setenv("WEIR_TEST_SEED", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VX", 1);
    assert_int_equal(try_set(&guarded, &err), WEIR_INVALID);
    assert_message_has(&err, "no seed");
    assert_null(strstr(err.message, "SUACSSL3"));
    unsetenv("WEIR_TEST_SEED");
    guarded_stop(&guarded);
}

static void make_certificates(const struct test_folder *folder) {
    test_shell(folder,
               "exec 2> /dev/null\n"
               "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
               "-keyout ca.key -out ca.pem -subj /CN=ca -addext basicConstraints=critical,CA:TRUE\n"
               "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
               "-keyout server.key -out server.csr -subj /CN=server\n"
               "printf 'subjectAltName=DNS:localhost' > names\n"
               "openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial "
               "-days 2 -extfile names -out server.pem\n"
               "chmod -R a+rX .");
}

static void tls_is_verified(void **state) {
    (void)state;
    struct guarded guarded;
    struct weir_error err;
    struct test_folder folder;
    char config[2048], path[TEST_PATH_BYTES], text[64];
    test_folder_init(&folder);
    make_certificates(&folder);
    snprintf(config, sizeof config,
             "tls { cert_file: \"%s/server.pem\", key_file: \"%s/server.key\" }\n", folder.path,
             folder.path);
    guarded_start(&guarded, config);
    // A server that wants it gets it, and must show a certificate that is accepted.
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    assert_message_has(&err, "certificate is not accepted");
    assert_message_has(&err, "tls_ca");
    set(&guarded, "tls_ca", test_path(&folder, "ca.pem", path));
    assert_ok(try_set(&guarded, &err));
    // Of that host.
    snprintf(text, sizeof text, "127.0.0.1:%u", test_server_port(guarded.server));
    unset(&guarded.rig.options.server);
    set(&guarded, "server", text);
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    assert_message_has(&err, "certificate is not accepted");
    set(&guarded, "tls_ca", test_path(&folder, "missing.pem", path));
    assert_int_equal(try_set(&guarded, &err), WEIR_INVALID);
    assert_message_has(&err, "missing.pem");
    // Watching goes over it too, and large values.
    set(&guarded, "tls_ca", test_path(&folder, "ca.pem", path));
    snprintf(text, sizeof text, "tls://localhost:%u", test_server_port(guarded.server));
    unset(&guarded.rig.options.server);
    set(&guarded, "server", text);
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &guarded.rig.options};
    struct test_sink sink;
    test_sink_init(&sink);
    assert_ok(weir_nats_provider.open(&args, &resource, &err));
    struct weir_watch *watch = nats_rig_watch(resource, "*", NULL, false, &sink);
    char *large = calloc(1, 1000000);
    assert_non_null(large);
    assert_ok(weir_nats_provider.set(resource, WEIR_STR("k"), (struct weir_str){large, 1000000},
                                     &nats_rig_limits, &err));
    assert_int_equal(test_sink_next(&sink)->fields.data.value.bytes.size, 1000000);
    free(large);
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d", i);
        assert_ok(weir_nats_provider.set(resource, WEIR_STR("k"), weir_str_of(text),
                                         &nats_rig_limits, &err));
        test_sink_skip_to_set(&sink, "k", text);
    }
    weir_nats_provider.unwatch(watch);
    weir_nats_provider.close(resource);
    test_sink_finish(&sink);
    guarded_stop(&guarded);
    test_folder_finish(&folder);
}

static void tls_that_is_wanted_is_not_left_out(void **state) {
    (void)state;
    struct guarded guarded;
    struct weir_error err;
    guarded_start(&guarded, "");
    set(&guarded, "tls", "true");
    assert_int_equal(try_set(&guarded, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "TLS");
    guarded_stop(&guarded);
}

// ---- examining and withdrawing

struct findings {
    size_t count, mistakes;
    char text[4096]; // all of them, remedies behind "->"
};

static void note(void *context, const struct weir_finding *finding) {
    struct findings *findings = context;
    size_t size = strlen(findings->text);
    snprintf(findings->text + size, sizeof findings->text - size, "%s -> %s\n", finding->what,
             finding->remedy ? finding->remedy : "");
    findings->count++;
    findings->mistakes += finding->is_mistake;
}

static void examine(struct guarded *guarded, struct findings *ret_findings) {
    struct weir_error err;
    struct weir_resource *resource = NULL;
    struct weir_resource_args args = {.name = "shop", .options = &guarded->rig.options};
    const struct weir_pattern pattern = weir_pattern_of(WEIR_STR("*"));
    *ret_findings = (struct findings){0};
    const struct weir_findings findings = {.tell = note, .context = ret_findings};
    assert_ok(weir_nats_provider.open(&args, &resource, &err));
    assert_ok(weir_nats_provider.examine(resource, &pattern, 1, &findings, &err));
    weir_nats_provider.close(resource);
}

#define assert_found(findings, part)                                       \
    do {                                                                   \
        if (!strstr((findings).text, (part))) {                            \
            fail_msg("\"%s\" is not among:\n%s", (part), (findings).text); \
        }                                                                  \
    } while (0)

static void what_is_missing_is_found(void **state) {
    (void)state;
    struct guarded guarded;
    struct findings found;
    struct weir_error err;
    guarded_start(&guarded, "");
    set(&guarded, "create", "false");
    examine(&guarded, &found);
    assert_int_equal(found.mistakes, 1);
    assert_found(found, "there is no bucket b -> nats kv add b");
    examine(&guarded, &found); // it has changed nothing
    assert_int_equal(found.mistakes, 1);
    set(&guarded, "create", "true");
    examine(&guarded, &found);
    assert_int_equal(found.mistakes, 0);
    assert_found(found, "weir makes it");
    assert_ok(try_set(&guarded, &err));
    examine(&guarded, &found);
    assert_int_equal(found.count, 0);
    guarded_stop(&guarded);
}

static void no_jetstream_is_found(void **state) {
    (void)state;
    struct guarded guarded;
    struct findings found;
    struct weir_error err;
    guarded_start(&guarded, "accounts { A: { users: [ {user: a, password: p} ] } }\n");
    set(&guarded, "user", "a");
    set(&guarded, "password", "env:WEIR_TEST_PASSWORD");
    setenv("WEIR_TEST_PASSWORD", "p", 1);
    examine(&guarded, &found);
    assert_int_equal(found.mistakes, 1);
    assert_found(found, "JetStream is not enabled");
    assert_found(found, "jetstream {}");
    assert_found(found, "not encrypted");
    assert_int_equal(try_set(&guarded, &err), WEIR_UNAVAILABLE);
    assert_message_has(&err, "JetStream is not enabled");
    unsetenv("WEIR_TEST_PASSWORD");
    guarded_stop(&guarded);
}

static void a_right_that_is_missing_is_found(void **state) {
    (void)state;
    struct guarded guarded;
    struct findings found;
    struct weir_error err;
    guarded_start(&guarded, "authorization { users: [ { user: a, password: p, permissions: { "
                            "publish: [\"other.>\"], subscribe: [\"_INBOX.>\"] } } ] }\n");
    set(&guarded, "user", "a");
    set(&guarded, "password", "env:WEIR_TEST_PASSWORD");
    set(&guarded, "create", "false");
    setenv("WEIR_TEST_PASSWORD", "p", 1);
    examine(&guarded, &found);
    assert_true(found.mistakes >= 1);
    assert_found(found, "Permissions Violation for Publish to \"$JS.API.INFO\"");
    assert_found(found, "in the user's permissions: publish: [\"$JS.API.>\"");
    assert_int_equal(try_set(&guarded, &err), WEIR_DENIED);
    assert_message_has(&err, "Permissions Violation");
    unsetenv("WEIR_TEST_PASSWORD");
    guarded_stop(&guarded);
}

static void what_weir_made_is_taken_away(void **state) {
    (void)state;
    struct nats_rig rig;
    struct weir_error err;
    struct findings found = {0};
    const struct weir_findings findings = {.tell = note, .context = &found};
    nats_rig_init(&rig, NULL, false);
    if (!rig.foreign) {
        skip();
    }
    nats_rig_open(&rig);
    const char *names[] = {"one", "guest/two", "three"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct weir_watch *watch = nats_rig_watch(rig.resource, "*", names[i], false, &rig.sink);
        weir_nats_provider.unwatch(watch);
    }
    struct weir_resource *other = NULL; // whose consumers stay
    struct weir_resource_args args = {.name = "shop2", .options = &rig.options};
    assert_ok(weir_nats_provider.open(&args, &other, &err));
    struct weir_watch *watch = nats_rig_watch(other, "*", "theirs", false, &rig.sink);
    weir_nats_provider.unwatch(watch);
    nats_rig_api(&rig, "CONSUMER.DURABLE.CREATE.KV_" NATS_RIG_BUCKET ".foreign",
                 json_pack("{s:s, s:{s:s, s:s}}", "stream_name", "KV_" NATS_RIG_BUCKET, "config",
                           "durable_name", "foreign", "ack_policy", "explicit"));
    assert_ok(weir_nats_provider.withdraw(rig.resource, &findings, &err));
    assert_int_equal(found.count, 3);
    assert_int_equal(found.mistakes, 0);
    assert_found(found, "weir-one");
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_false(nats_rig_has_consumer(&rig, "KV_" NATS_RIG_BUCKET, names[i]));
    }
    assert_true(nats_rig_has_consumer(&rig, "KV_" NATS_RIG_BUCKET, "theirs"));
    json_decref(
        test_foreign_call(rig.foreign, json_pack("{s:s, s:s, s:s}", "op", "consumer_info", "stream",
                                                 "KV_" NATS_RIG_BUCKET, "consumer", "foreign")));
    nats_rig_put(&rig, "a", "still there");
    weir_nats_provider.close(other);
    nats_rig_finish(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_wanted),
        cmocka_unit_test(a_token_is_wanted),
        cmocka_unit_test(an_nkey_signs),
        cmocka_unit_test(tls_is_verified),
        cmocka_unit_test(tls_that_is_wanted_is_not_left_out),
        cmocka_unit_test(what_is_missing_is_found),
        cmocka_unit_test(no_jetstream_is_found),
        cmocka_unit_test(a_right_that_is_missing_is_found),
        cmocka_unit_test(what_weir_made_is_taken_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
