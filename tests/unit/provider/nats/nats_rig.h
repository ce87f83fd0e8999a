// SPDX-License-Identifier: Apache-2.0
//
// A NATS server of a test's own, somebody else's client of it, and an opened resource of the
// provider with a sink and a log that can be read. The test's main thread only.
#ifndef WEIR_TESTS_UNIT_PROVIDER_NATS_NATS_RIG_H
#define WEIR_TESTS_UNIT_PROVIDER_NATS_NATS_RIG_H

#include "provider/nats/nats.h"
#include "provider/nats/options.h"
#include "support/foreign.h"
#include "support/server.h"
#include "support/sink.h"

#define NATS_RIG_BUCKET "orders"
#define NATS_RIG_STREAM "EVENTS"
#define NATS_RIG_PREFIX "shop." // the stream has shop.>

struct nats_rig {
    struct test_server *server;
    struct test_foreign *foreign;
    struct weir_nats_options options;
    struct weir_resource *resource;
    struct weir_watch *watch; // of nats_rig_begin; NULL: there is none
    struct test_sink sink;
    struct weir_log *log;
    int log_fd;
};

enum { NATS_RIG_EVENT_BYTES_MAX = 16 << 20 };

extern const struct weir_limits nats_rig_limits;

// Starts a server (`args` may be NULL) and makes the bucket and the stream; the options are those
// of a resource of the bucket, or of the stream. Skips the test where this machine has no server or
// no client of it.
void nats_rig_init(struct nats_rig *rig, const struct test_server_args *args, bool is_stream);
void nats_rig_open(struct nats_rig *rig);
// Closes the resource and opens it again, as a stop and a start do.
void nats_rig_reopen(struct nats_rig *rig);
void nats_rig_finish(struct nats_rig *rig);

// For cmocka: *state is a rig of a bucket, or of a stream, opened.
int nats_rig_setup_bucket(void **state);
int nats_rig_setup_stream(void **state);
int nats_rig_teardown(void **state);

// An option, as a user would write it.
void nats_rig_option(struct nats_rig *rig, const char *name, const char *text);
// One more resource with these options.
struct weir_resource *nats_rig_other(struct nats_rig *rig);

// Watches; the name may be NULL.
struct weir_watch *nats_rig_watch(struct weir_resource *resource, const char *key, const char *name,
                                  bool goes_on, struct test_sink *sink);
weir_status nats_rig_try_watch(struct weir_resource *resource, const char *key, const char *name,
                               bool goes_on, struct test_sink *sink, struct weir_watch **ret_watch,
                               struct weir_error *err);

// By somebody else.
void nats_rig_put(struct nats_rig *rig, const char *key, const char *value);
void nats_rig_publish(struct nats_rig *rig, const char *subject, const char *payload);
void nats_rig_make_bucket(struct nats_rig *rig);
void nats_rig_make_stream(struct nats_rig *rig);
// A number that the consumer of the subscription has; see JetStream's consumer info.
uint64_t nats_rig_consumer(struct nats_rig *rig, const char *stream, const char *name,
                           const char *number);
bool nats_rig_has_consumer(struct nats_rig *rig, const char *stream, const char *name);
// A request of JetStream's, for its effect. `body` is taken over and may be NULL.
void nats_rig_api(struct nats_rig *rig, const char *subject, json_t *body);

bool nats_rig_has_logged(struct nats_rig *rig, const char *text);
bool nats_rig_is_connected(struct nats_rig *rig);
const struct weir_event *nats_rig_expect_gap(struct test_sink *sink);
// The next event is a message with this payload.
const struct weir_event *nats_rig_expect_message(struct test_sink *sink, const char *key,
                                                 const char *payload);

#endif
