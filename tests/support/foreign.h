// SPDX-License-Identifier: Apache-2.0
//
// Somebody else's client of a server: redis-py, psycopg or nats-py, in tests/support/foreign.py,
// which $WEIR_PYTHON runs (./dev test sets it; else python3). Some thousand requests a second, and
// with those of many, ten thousands. What
// fails, or takes longer than TEST_WAIT_MS, fails the test. A client goes on after its server was
// started again. The test's main thread only (see child.h).
//
// A request is an object with "op" and what the op wants, a method of that name in foreign.py:
//
//   redis     command(arguments) · commands(commands): all are sent before the first reply is read
//   postgres  sql(sql, parameters): its rows; parameters are $1 … of text, bytea or another type
//             whose binary form is the text; others are cast: $1::text::int ·
//             sql_many(sql, parameters: a list of such lists), one transaction
//   nats      kv_create(bucket, options: history, ttl …) · kv_put · kv_get · kv_delete · kv_purge ·
//             publish(subject, payload, headers) · publish_core · stream_add(config) · stream_info
//             · purge_stream(stream, options) · delete_stream · consumer_info(stream, consumer) ·
//             api(subject, body): any request of JetStream's, without "$JS.API."
//
// Bytes are base64 in requests and answers (test_json_bytes makes it, test_json_take reads it):
// arguments, parameters, values, payloads; each text in a reply of Redis and in a row.
#ifndef WEIR_TESTS_SUPPORT_FOREIGN_H
#define WEIR_TESTS_SUPPORT_FOREIGN_H

#include "base/str.h"
#include "support/server.h"

#include <jansson.h>

struct test_foreign;

// Connects to the server. NULL: this Python has no such client, skip the test; that is a failure
// where $WEIR_PYTHON is set.
struct test_foreign *test_foreign_start(const struct test_server *server);
// NULL: does nothing.
void test_foreign_stop(struct test_foreign *foreign);

// Sends the request, which is the callee's from then on. Returns the answer's value, to be unref'd.
json_t *test_foreign_call(struct test_foreign *foreign, json_t *request);
// The same; where the client answers that it failed, returns NULL and the text, which stays valid
// until the next call.
json_t *test_foreign_try(struct test_foreign *foreign, json_t *request, const char **ret_error);

// Bytes as a request wants them.
json_t *test_json_bytes(struct weir_str bytes);
// The bytes of such a text, NUL-terminated, to be freed; NULL for null. Fails the test if it is
// something else.
char *test_json_take(const json_t *text, size_t *ret_size);

// ---- the usual requests ----

// Redis: one command. TEST_FOREIGN_REDIS(foreign, "SET", key, "1") for arguments that are strings.
json_t *test_foreign_redis(struct test_foreign *foreign, size_t count,
                           const struct weir_str arguments[]);
json_t *test_foreign_redis_words(struct test_foreign *foreign, const char *const *words);
#define TEST_FOREIGN_REDIS(foreign, ...) \
    test_foreign_redis_words(foreign, (const char *const[]){__VA_ARGS__, NULL})
// PostgreSQL: the rows, an array of arrays. A parameter whose data is NULL is NULL.
json_t *test_foreign_sql(struct test_foreign *foreign, const char *sql, size_t count,
                         const struct weir_str parameters[]);
// NATS: the revision.
uint64_t test_foreign_kv_put(struct test_foreign *foreign, const char *bucket, const char *key,
                             struct weir_str value);
void test_foreign_kv_delete(struct test_foreign *foreign, const char *bucket, const char *key);
void test_foreign_kv_purge(struct test_foreign *foreign, const char *bucket, const char *key);
// NATS: the number in the stream that has it.
uint64_t test_foreign_publish(struct test_foreign *foreign, const char *subject,
                              struct weir_str payload);

#endif
