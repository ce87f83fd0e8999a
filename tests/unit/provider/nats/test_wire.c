// SPDX-License-Identifier: Apache-2.0
//
// The texts of NATS: frames, headers, keys as subjects, what JetStream says, options, and the
// signature of a nonce. No server.
#include "unit/test.h"

#include "provider/nats/api.h"
#include "provider/nats/header.h"
#include "provider/nats/key.h"
#include "provider/nats/login.h"
#include "provider/nats/nkey.h"
#include "support/sink.h" // assert_ok

// ---- frames

static void frames_are_read_whatever_way_they_come(void **state) {
    (void)state;
    const char text[] = "INFO {\"a\":1}\r\n"
                        "+OK\r\n"
                        "MSG a.b 7 5\r\nhello\r\n"
                        "MSG a.b 7 reply.x 0\r\n\r\n"
                        "HMSG a 9 12 14\r\nNATS/1.0\r\n\r\nxy\r\n"
                        "hmsg  a\t9 r 12 12\r\nNATS/1.0\r\n\r\n\r\n"
                        "PING\r\nPONG\r\n-ERR 'Stale Connection'\r\n";
    const struct {
        enum weir_nats_word word;
        const char *subject, *reply, *data, *text;
        uint64_t subscription;
    } wanted[] = {
        {WEIR_NATS_INFO, "", "", "", "{\"a\":1}", 0},
        {WEIR_NATS_OK, "", "", "", "", 0},
        {WEIR_NATS_MESSAGE, "a.b", "", "hello", "", 7},
        {WEIR_NATS_MESSAGE, "a.b", "reply.x", "", "", 7},
        {WEIR_NATS_MESSAGE, "a", "", "xy", "", 9},
        {WEIR_NATS_MESSAGE, "a", "r", "", "", 9},
        {WEIR_NATS_PING, "", "", "", "", 0},
        {WEIR_NATS_PONG, "", "", "", "", 0},
        {WEIR_NATS_ERR, "", "", "", "Stale Connection", 0},
    };
    size_t size = sizeof text - 1, at = 0;
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        struct weir_nats_frame frame;
        struct weir_error err;
        size_t taken, whole = 0;
        // However much of it has come, it is read when it is complete and not before.
        for (size_t end = at; whole == 0; end++) {
            char *copy = malloc(end - at + 1); // for the sanitizer to see what is behind it
            assert_non_null(copy);
            memcpy(copy, text + at, end - at);
            weir_status status =
                weir_nats_read((struct weir_str){copy, end - at}, &frame, &taken, &err);
            if (status == WEIR_OK) {
                whole = taken;
                assert_int_equal(taken, end - at);
                assert_int_equal(frame.word, wanted[i].word);
                assert_str_equal(frame.subject, wanted[i].subject);
                assert_str_equal(frame.reply, wanted[i].reply);
                assert_str_equal(frame.data, wanted[i].data);
                assert_str_equal(frame.text, wanted[i].text);
                assert_int_equal(frame.subscription, wanted[i].subscription);
            } else {
                assert_int_equal(status, WEIR_AGAIN);
                assert_true(taken > end - at && at + taken <= size);
            }
            free(copy);
        }
        at += whole;
    }
    assert_int_equal(at, size);
}

static void what_is_no_frame_is_invalid(void **state) {
    (void)state;
    const char *texts[] = {"\r\n",
                           "HELLO\r\n",
                           "MSG\r\n",
                           "MSG a 1\r\n",
                           "MSG a x 1\r\n",
                           "MSG a 1 -1\r\n",
                           "MSG a 1 1 1 1\r\n",
                           "MSG a 1 1000000000\r\n",
                           "MSG a 99999999999999999999 1\r\n",
                           "HMSG a 1 5\r\n",
                           "HMSG a 1 5 4\r\nxxxx\r\n",
                           "MSG a 1 1\r\nxyz",
                           "HMSG a b c d e f g\r\n"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct weir_nats_frame frame;
        struct weir_error err;
        size_t taken;
        assert_int_equal(weir_nats_read(weir_str_of(texts[i]), &frame, &taken, &err), WEIR_INVALID);
    }
    size_t size = WEIR_NATS_LINE_BYTES_MAX + 1;
    char *endless = malloc(size);
    assert_non_null(endless);
    memset(endless, 'x', size);
    struct weir_nats_frame frame;
    size_t taken;
    assert_int_equal(weir_nats_read((struct weir_str){endless, size - 1}, &frame, &taken, NULL),
                     WEIR_AGAIN);
    assert_int_equal(weir_nats_read((struct weir_str){endless, size}, &frame, &taken, NULL),
                     WEIR_INVALID);
    free(endless);
}

static void posts_are_written(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_nats_buffer buffer = {0};
    assert_ok(weir_nats_put_post(
        &buffer, &(struct weir_nats_post){.subject = WEIR_STR("a"), .data = WEIR_STR("xy")}, &err));
    assert_ok(weir_nats_put_post(&buffer,
                                 &(struct weir_nats_post){.subject = WEIR_STR("a"),
                                                          .reply = WEIR_STR("r"),
                                                          .headers = WEIR_STR("NATS/1.0\r\n\r\n"),
                                                          .data = WEIR_STR("xy")},
                                 &err));
    assert_str_equal(weir_nats_buffer_view(&buffer),
                     "PUB a 2\r\nxy\r\nHPUB a r 12 14\r\nNATS/1.0\r\n\r\nxy\r\n");
    char subject[WEIR_NATS_CONTROL_BYTES_MAX + 1];
    memset(subject, 'x', sizeof subject);
    assert_int_equal(
        weir_nats_put_post(&buffer, &(struct weir_nats_post){.subject = {subject, sizeof subject}},
                           &err),
        WEIR_INVALID);
    weir_nats_buffer_take(&buffer, 13);
    assert_true(weir_str_has_prefix(weir_nats_buffer_view(&buffer), WEIR_STR("HPUB")));
    weir_nats_buffer_finish(&buffer);
}

static void buffers_keep_what_is_in_them(void **state) {
    (void)state;
    struct weir_nats_buffer buffer = {0};
    char bytes[5000];
    size_t put = 0, taken = 0;
    for (unsigned round = 0; round < 3000; round++) {
        size_t size = round * 37 % sizeof bytes;
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (char)((put + i) * 31);
        }
        assert_true(weir_nats_buffer_put(&buffer, (struct weir_str){bytes, size}));
        put += size;
        struct weir_str view = weir_nats_buffer_view(&buffer);
        assert_int_equal(view.size, put - taken);
        size_t less = round * 53 % (view.size + 1);
        for (size_t i = 0; i < less; i += 97) {
            assert_int_equal(view.data[i], (char)((taken + i) * 31));
        }
        weir_nats_buffer_take(&buffer, less);
        taken += less;
    }
    weir_nats_buffer_take(&buffer, put - taken);
    assert_true(buffer.capacity <= WEIR_NATS_BUFFER_KEPT_BYTES_MAX);
    weir_nats_buffer_finish(&buffer);
}

// ---- headers

static void headers_are_read_and_written(void **state) {
    (void)state;
    struct weir_str text =
        WEIR_STR("NATS/1.0 409 Consumer Deleted\r\nA: b \r\nnone\r\nLong:x: y\r\n\r\n");
    assert_int_equal(weir_nats_headers_status(text), 409);
    assert_str_equal(weir_nats_headers_reason(text), "Consumer Deleted");
    assert_str_equal(weir_nats_headers_find(text, "a"), "b");
    assert_str_equal(weir_nats_headers_find(text, "LONG"), "x: y");
    assert_int_equal(weir_nats_headers_find(text, "none").size, 0);
    assert_int_equal(weir_nats_headers_status(WEIR_STR("NATS/1.0\r\nA: 503\r\n\r\n")), 0);
    assert_int_equal(weir_nats_headers_status(WEIR_STR("")), 0);
    assert_int_equal(weir_nats_headers_status(WEIR_STR("NATS/1.0 x\r\n")), 0);
    // Any text comes back, on one line.
    char every[256], decoded[3 * 256];
    for (size_t i = 0; i < sizeof every; i++) {
        every[i] = (char)i;
    }
    struct weir_nats_buffer buffer = {0};
    assert_true(weir_nats_headers_begin(&buffer));
    assert_true(weir_nats_headers_put_coded(&buffer, "ce-", WEIR_STR("x"),
                                            (struct weir_str){every, sizeof every}));
    assert_true(weir_nats_headers_end(&buffer));
    struct weir_str value = weir_nats_headers_find(weir_nats_buffer_view(&buffer), "CE-X");
    assert_null(memchr(value.data, '\n', value.size));
    assert_int_equal(weir_nats_headers_decode(value, decoded), sizeof every);
    assert_memory_equal(decoded, every, sizeof every);
    weir_nats_buffer_finish(&buffer);
    assert_int_equal(weir_nats_headers_decode(WEIR_STR("%4%zz%"), decoded), 6);
}

// ---- keys

static const struct weir_nats_naming bucket = {.is_bucket = true, .prefix = "$KV.b."};
static const struct weir_nats_naming stream = {.prefix = "shop."};

static void keys_are_coded_so_that_ordinary_ones_stay(void **state) {
    (void)state;
    const struct {
        const char *key, *name;
    } cases[] = {
        {"orders/1", "orders/1"},
        {"a.b.c", "a.b.c"},
        {"A-z_0=9", "A-z_0=9"},
        {"x=", "x="},
        {"Zm9v==", "Zm9v=="},
        {" ", "=20"},
        {".", "=.="},
        {"a..b", "a.=.b"},
        {".hidden", "=.hidden"},
        {"end.", "end.="},
        {"=", "=3D"},
        {"a.=.b", "a.=3D.b"},
        {"=41", "=3D41"},
        {"a=4", "a=4"},
        {"=4 ", "=4=20"},
        {"= ", "==20"},
        {"*", "=2A"},
        {"a>b", "a=3Eb"},
        {"\xc3\xa4", "=C3=A4"},
        {"==41", "==3D41"},
        {"a=g1", "a=g1"},
        {"a=aF", "a=aF"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_nats_subject subject;
        struct weir_error err;
        char buffer[WEIR_KEY_BYTES_MAX];
        struct weir_str key;
        assert_ok(weir_nats_subject_of(&bucket, weir_str_of(cases[i].key), &subject, &err));
        assert_string_equal(subject.text + strlen(bucket.prefix), cases[i].name);
        assert_true(weir_nats_key_of(&bucket, weir_str_of(subject.text), buffer, &key));
        assert_str_equal(key, cases[i].key);
    }
    // A name that no key is coded to is no key.
    const char *others[] = {"=41", "a=2E", "=2f", "=00", "a.=.=41"};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        char subject[64], buffer[WEIR_KEY_BYTES_MAX];
        struct weir_str key;
        snprintf(subject, sizeof subject, "%s%s", bucket.prefix, others[i]);
        bool is_key = weir_nats_key_of(&bucket, weir_str_of(subject), buffer, &key);
        if (strcmp(others[i], "=2f") == 0) { // lower case is no code, but three letters
            assert_true(is_key);
            assert_str_equal(key, "=2f");
        } else {
            assert_false(is_key);
        }
    }
    char buffer[WEIR_KEY_BYTES_MAX];
    struct weir_str key;
    assert_false(weir_nats_key_of(&bucket, WEIR_STR("$KV.other.a"), buffer, &key));
    assert_false(weir_nats_key_of(&bucket, WEIR_STR("$KV.b."), buffer, &key));
}

static void any_bytes_come_back(void **state) {
    (void)state;
    const char letters[] = {'=', '.', 'A', '4', '1', ' ', '\xff', '/', 'g'};
    char text[5], buffer[WEIR_KEY_BYTES_MAX];
    size_t count = COUNT_OF(letters), total = count * count * count * count * count;
    for (size_t n = 0; n < total; n++) {
        size_t rest = n;
        for (size_t size = 0; size < sizeof text; size++) {
            text[size] = letters[rest % count];
            rest /= count;
        }
        for (size_t size = 1; size <= sizeof text; size++) {
            struct weir_nats_subject subject;
            struct weir_str key = {text, size}, back;
            assert_int_equal(weir_nats_subject_of(&bucket, key, &subject, NULL), WEIR_OK);
            assert_true(weir_nats_key_of(&bucket, (struct weir_str){subject.text, subject.size},
                                         buffer, &back));
            assert_true(weir_str_equal(key, back));
            assert_null(strstr(subject.text, ".."));
            assert_int_not_equal(subject.text[subject.size - 1], '.');
        }
    }
}

static void filters_are_as_narrow_as_tokens_allow(void **state) {
    (void)state;
    const struct {
        const struct weir_nats_naming *naming;
        const char *pattern, *filter;
    } cases[] = {
        {&bucket, "*", "$KV.b.>"},
        {&bucket, "a", "$KV.b.a"},
        {&bucket, "a/b/*", "$KV.b.>"},
        {&bucket, "a.*", "$KV.b.a.>"},
        {&bucket, "a.b*", "$KV.b.a.>"},
        {&bucket, "a.b.*", "$KV.b.a.b.>"},
        {&bucket, "a b.*", "$KV.b.a=20b.>"},
        {&bucket, ".*", "$KV.b.=.>"},
        {&stream, "*", "shop.>"},
        {&stream, "orders.new", "shop.orders.new"},
        {&stream, "orders.*", "shop.orders.>"},
        {&stream, "a>b", "shop.a%3Eb"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_nats_subject filter;
        struct weir_error err;
        struct weir_pattern pattern = weir_pattern_of(weir_str_of(cases[i].pattern));
        assert_ok(weir_nats_filter_of(cases[i].naming, &pattern, &filter, &err));
        assert_string_equal(filter.text, cases[i].filter);
    }
    char longest[WEIR_KEY_BYTES_MAX];
    struct weir_nats_subject subject;
    struct weir_error err;
    memset(longest, 'x', sizeof longest);
    assert_int_equal(
        weir_nats_subject_of(&bucket, (struct weir_str){longest, sizeof longest}, &subject, &err),
        WEIR_INVALID);
    assert_message_has(&err, "longer than a subject");
}

static void subjects_of_streams_mean_what_they_say(void **state) {
    (void)state;
    char buffer[WEIR_KEY_BYTES_MAX];
    struct weir_str key;
    assert_true(weir_nats_key_of(&stream, WEIR_STR("shop.a%41=20"), buffer, &key));
    assert_str_equal(key, "a%41=20");
    struct weir_nats_subject subject;
    assert_int_equal(weir_nats_subject_of(&stream, WEIR_STR(""), &subject, NULL), WEIR_OK);
    assert_string_equal(subject.text, "shop.%");
    assert_int_equal(weir_nats_subject_of(&stream, WEIR_STR("a b.*"), &subject, NULL), WEIR_OK);
    assert_string_equal(subject.text, "shop.a%20b.%2A");
}

// ---- JetStream

static void replies_of_deliveries_are_read(void **state) {
    (void)state;
    struct weir_nats_delivery delivery;
    assert_true(weir_nats_delivery_read(
        WEIR_STR("$JS.ACK.KV_b.weir-x.3.42.7.1700000000000000001.5"), &delivery));
    assert_int_equal(delivery.times, 3);
    assert_int_equal(delivery.sequence, 42);
    assert_int_equal(delivery.wall_ns, INT64_C(1700000000000000001));
    assert_int_equal(delivery.pending, 5);
    assert_true(weir_nats_delivery_read(
        WEIR_STR("$JS.ACK.hub.AbCd.KV_b.weir-x.1.43.7.1700000000000000001.0.rand"), &delivery));
    assert_int_equal(delivery.sequence, 43);
    const char *bad[] = {"",
                         "a",
                         "$JS.ACK.",
                         "$JS.ACK.s.c.1.2.3.4",
                         "$JS.ACK.s.c.1.x.3.4.5",
                         "$JS.ACK.s.c.1.0.3.4.5",
                         "$JS.ACK.s.c.1.2.3.4.5.6",
                         "$JS.ACK.s.c.1.2.3.99999999999999999999.5"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(weir_nats_delivery_read(weir_str_of(bad[i]), &delivery));
    }
}

static void answers_may_be_anything(void **state) {
    (void)state;
    const char *texts[] = {"",
                           "x",
                           "[]",
                           "{}",
                           "{\"error\":1}",
                           "{\"error\":{\"code\":-1,\"description\":7}}",
                           "{\"config\":[],\"state\":3}",
                           "{\"name\":\"a.b\",\"config\":{}}",
                           "\xff"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct weir_nats_fault fault = {0};
        struct weir_nats_stream is_stream;
        struct weir_nats_consumer consumer;
        struct weir_nats_receipt receipt;
        struct weir_error err;
        const struct weir_nats_frame frame = {.data = weir_str_of(texts[i])};
        json_t *answer = weir_nats_api_read(&frame, &fault);
        if (answer) {
            assert_false(weir_nats_stream_read(answer, &is_stream));
            assert_false(weir_nats_consumer_read(answer, &consumer));
            assert_false(weir_nats_receipt_read(answer, &receipt));
            json_decref(answer);
        } else {
            assert_int_equal(weir_nats_api_fail(&fault, "x", &err), WEIR_UNAVAILABLE);
        }
    }
}

// ---- options

static weir_status parse(const char *text, struct weir_nats_servers *servers) {
    return weir_nats_servers_parse(weir_str_of(text), servers, NULL);
}

static void servers_are_written_in_several_ways(void **state) {
    (void)state;
    struct weir_nats_servers servers;
    struct weir_error err;
    assert_ok(parse("nats://a:1, b ,tls://[::1]:3,127.0.0.1:4/", &servers));
    assert_int_equal(servers.count, 4);
    assert_string_equal(servers.items[0].host, "a");
    assert_string_equal(servers.items[0].port, "1");
    assert_string_equal(servers.items[1].port, "4222");
    assert_string_equal(servers.items[2].host, "::1");
    assert_string_equal(servers.items[3].host, "127.0.0.1");
    assert_true(servers.wants_tls);
    const char *bad[] = {"",    ",",  "a:",       ":1",   "a:0",    "a:65536",
                         "a:b", "a,", "http://a", "[::1", "[::1]x", "a b:1"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(parse(bad[i], &servers), WEIR_INVALID);
    }
    assert_int_equal(weir_nats_servers_parse(WEIR_STR("nats://u:hunter2@a"), &servers, &err),
                     WEIR_INVALID);
    assert_null(strstr(err.message, "hunter2"));
}

static weir_status check(const char *const *settings, struct weir_nats_options *options,
                         struct weir_error *err) {
    *options = (struct weir_nats_options){0};
    assert_int_equal(weir_options_init(&weir_nats_option_table, options, err), WEIR_OK);
    for (; settings[0]; settings += 2) {
        const struct weir_option *row =
            weir_option_find(&weir_nats_option_table, weir_str_of(settings[0]));
        assert_non_null(row);
        assert_int_equal(weir_option_set(row, options, weir_str_of(settings[1]), NULL, err),
                         WEIR_OK);
    }
    weir_status status = weir_nats_options_check(options, err);
    return status;
}

static void options_go_together_or_say_why_not(void **state) {
    (void)state;
    const struct {
        const char *settings[12];
        const char *message; // NULL: they do
        int mode;
    } cases[] = {
        {{"server", "a", "bucket", "b"}, NULL, WEIR_NATS_KV},
        {{"server", "a", "stream", "s"}, NULL, WEIR_NATS_STREAM},
        {{"server", "a", "mode", "subject"}, NULL, WEIR_NATS_SUBJECT},
        {{"server", "a", "stream", "s", "prefix", "p.", "create", "true"}, NULL, WEIR_NATS_STREAM},
        {{"server", "nats://a:1/b"}, NULL, WEIR_NATS_KV},
        {{"server", "//a,c:2/b"}, NULL, WEIR_NATS_KV},
        {{"server", "a/b", "bucket", "c"}, "ends in a bucket", 0},
        {{"server", "a/b.c"}, "other characters", 0},
        {{"server", "a"}, "what is to be watched?", 0},
        {{"server", "a", "mode", "kv"}, "wants a bucket", 0},
        {{"server", "a", "mode", "stream"}, "wants a stream", 0},
        {{"server", "a", "bucket", "b", "stream", "s"}, "both given", 0},
        {{"server", "a", "mode", "subject", "bucket", "b"}, "mode subject", 0},
        {{"server", "a", "bucket", "b.c"}, "other characters", 0},
        {{"server", "a", "bucket", "b", "prefix", "p."}, "prefix", 0},
        {{"server", "a", "stream", "s", "prefix", "p"}, "prefix", 0},
        {{"server", "a", "stream", "s", "prefix", "p.*."}, "prefix", 0},
        {{"server", "a", "stream", "s", "create", "true"}, "its subjects must be known", 0},
        {{"server", "a", "bucket", "b", "inbox", "a."}, "inbox", 0},
        {{"server", "a", "bucket", "b", "user", "u"}, "go together", 0},
        {{"server", "a", "bucket", "b", "token", "env:A", "nkey", "env:B"}, "different ways", 0},
        {{"server", "a", "bucket", "b", "tls_key", "/k"}, "go together", 0},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct weir_nats_options options;
        struct weir_error err = {0};
        weir_status status = check(cases[i].settings, &options, &err);
        if (cases[i].message) {
            assert_int_equal(status, WEIR_INVALID);
            assert_message_has(&err, cases[i].message);
        } else {
            assert_int_equal(status, WEIR_OK);
            assert_int_equal(options.mode, cases[i].mode);
        }
        weir_options_finish(&weir_nats_option_table, &options);
    }
}

// ---- nkeys and credentials

#define SEED "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"

static void credentials_are_taken_apart(void **state) {
    (void)state;
    struct weir_error err;
    struct weir_str jwt, seed;
    struct weir_nats_proof proof;
    const char text[] =
        "-----BEGIN NATS USER JWT-----\r\neyJ0\r\n------END NATS USER JWT------\r\n\n"
        "*** IMPORTANT ***\n-----BEGIN USER NKEY SEED-----\n" SEED
        "\n------END USER NKEY SEED------\n";
    assert_ok(weir_nats_credentials(weir_str_of(text), &jwt, &seed, &err));
    assert_str_equal(jwt, "eyJ0");
    assert_str_equal(seed, SEED);
    assert_ok(weir_nats_sign(seed, WEIR_STR("nonce"), &proof, &err));
    assert_string_equal(proof.key, "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4");
    assert_int_equal(strlen(proof.signature), 86);
    assert_null(strpbrk(proof.signature, "+/="));
    const char *bad[] = {"", "x", "-----BEGIN NATS USER JWT-----\n",
                         "-----BEGIN NATS USER JWT-----\nx\n-----BEGIN USER NKEY SEED-----"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(weir_nats_credentials(weir_str_of(bad[i]), &jwt, &seed, &err),
                         WEIR_INVALID);
    }
    // Every letter counts, and other kinds of seeds are none of a user's.
    char wrong[] = SEED;
    for (size_t i = 0; i < sizeof wrong - 1; i++) {
        wrong[i] ^= 1;
        assert_int_equal(
            weir_nats_sign((struct weir_str){wrong, sizeof wrong - 1}, WEIR_STR("n"), &proof, &err),
            WEIR_INVALID);
        wrong[i] ^= 1;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_read_whatever_way_they_come),
        cmocka_unit_test(what_is_no_frame_is_invalid),
        cmocka_unit_test(posts_are_written),
        cmocka_unit_test(buffers_keep_what_is_in_them),
        cmocka_unit_test(headers_are_read_and_written),
        cmocka_unit_test(keys_are_coded_so_that_ordinary_ones_stay),
        cmocka_unit_test(any_bytes_come_back),
        cmocka_unit_test(filters_are_as_narrow_as_tokens_allow),
        cmocka_unit_test(subjects_of_streams_mean_what_they_say),
        cmocka_unit_test(replies_of_deliveries_are_read),
        cmocka_unit_test(answers_may_be_anything),
        cmocka_unit_test(servers_are_written_in_several_ways),
        cmocka_unit_test(options_go_together_or_say_why_not),
        cmocka_unit_test(credentials_are_taken_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
