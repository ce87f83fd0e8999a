// SPDX-License-Identifier: Apache-2.0
//
// A connection to a NATS server. Whoever has it calls receive and send when its descriptor is
// ready; nothing in here waits, but for opening and asking, which wait with what they are given and
// by a moment. It has no thread, and everything it holds is bounded. One thread at a time.
//
// Why not libnats. The version of the distributions that weir is made for (3.4.1) was read and
// tried: where a server takes a connection and then says nothing more, natsConnection_Connect never
// returns and takes memory until there is none (mended in 3.8); its handshake of TLS waits without
// a bound; reading and writing share one SSL object between two threads; and while it tries to
// connect again, the lock that each call needs is held. A resource of weir may not hang on a server
// that hangs. What is needed of NATS' protocol is small, and a hub's thread waits for descriptors
// anyway.
#ifndef WEIR_PROVIDER_NATS_CLIENT_H
#define WEIR_PROVIDER_NATS_CLIENT_H

#include "provider/lookup.h"
#include "provider/nats/options.h"
#include "provider/nats/wire.h"
#include "provider/tls.h"
#include "provider/wait.h"

struct weir_nats_client;

// What the server says of itself.
struct weir_nats_info {
    char version[32], name[128];
    uint64_t payload_bytes_max;
    bool has_headers, has_jetstream, wants_tls;
};

struct weir_nats_login {
    const struct weir_nats_options *options;
    const struct weir_nats_servers *servers;
    const char *name; // as the server lists the connection
    struct weir_lookups *lookups;
    struct weir_tls *tls; // also where `tls` is not wanted: the server may want it
};

enum {
    WEIR_NATS_INBOX_BYTES = 192,            // of an inbox, and its NUL
    WEIR_NATS_UNSENT_BYTES_MAX = 128 << 20, // that wait for the socket
};

// Connects to one of the servers and logs in, until the waiter's moment. WEIR_UNAVAILABLE,
// WEIR_DENIED, WEIR_INVALID (a secret, a file), WEIR_STOPPED, WEIR_NO_MEMORY.
weir_status weir_nats_client_open(const struct weir_nats_login *login,
                                  const struct weir_waiter *waiter,
                                  struct weir_nats_client **ret_client, struct weir_error *err);
// At once: what was not sent is dropped. NULL is allowed.
void weir_nats_client_close(struct weir_nats_client *client);

// What to wait for.
int weir_nats_client_fd(const struct weir_nats_client *client);
short weir_nats_client_events(const struct weir_nats_client *client);

const struct weir_nats_info *weir_nats_client_info(const struct weir_nats_client *client);
bool weir_nats_client_is_secret(const struct weir_nats_client *client); // TLS
// "_INBOX.RANDOM", of this connection alone.
const char *weir_nats_client_inbox(const struct weir_nats_client *client);
// What the server has complained of last; "" where it has not.
const char *weir_nats_client_complaint(const struct weir_nats_client *client);
void weir_nats_client_forgive(struct weir_nats_client *client);
// When something came last (monotonic).
int64_t weir_nats_client_heard_ns(const struct weir_nats_client *client);
// Answers to `ping` so far.
uint64_t weir_nats_client_pongs(const struct weir_nats_client *client);

// Takes what has come, some of it. WEIR_UNAVAILABLE: the connection is gone.
weir_status weir_nats_client_receive(struct weir_nats_client *client, struct weir_error *err);
// The next message of what was received; its views hold until the next call that takes or receives
// one. Everything else that the server says is seen to. WEIR_AGAIN: there is none yet. Any other:
// the connection is of no use any more.
weir_status weir_nats_client_next(struct weir_nats_client *client,
                                  struct weir_nats_frame *ret_frame, struct weir_error *err);
// Sends what waits, as far as the socket takes it. WEIR_UNAVAILABLE.
weir_status weir_nats_client_send(struct weir_nats_client *client, struct weir_error *err);

// Each is put behind what waits to be sent. WEIR_NO_MEMORY; WEIR_LIMIT: the message is larger than
// the server takes, or too much waits; WEIR_INVALID: the subject is too long.
weir_status weir_nats_client_publish(struct weir_nats_client *client,
                                     const struct weir_nats_post *post, struct weir_error *err);
weir_status weir_nats_client_subscribe(struct weir_nats_client *client, struct weir_str subject,
                                       uint64_t subscription, struct weir_error *err);
weir_status weir_nats_client_unsubscribe(struct weir_nats_client *client, uint64_t subscription,
                                         struct weir_error *err);
weir_status weir_nats_client_ping(struct weir_nats_client *client, struct weir_error *err);

// ---- for callers that wait ----

// Sends a request and waits for its answer; `reply` of the post is filled in. Of a connection that
// is used for nothing else. WEIR_DENIED: the server has complained; WEIR_UNAVAILABLE: no answer by
// then, nobody answers to that subject (weir_nats_headers_status of the frame is then 503, and it
// is WEIR_OK), and as above.
weir_status weir_nats_client_ask(struct weir_nats_client *client, struct weir_nats_post post,
                                 const struct weir_waiter *waiter,
                                 struct weir_nats_frame *ret_frame, struct weir_error *err);
// The next message, whatever it is.
weir_status weir_nats_client_await(struct weir_nats_client *client,
                                   const struct weir_waiter *waiter,
                                   struct weir_nats_frame *ret_frame, struct weir_error *err);
// Waits until the server has taken everything.
weir_status weir_nats_client_flush(struct weir_nats_client *client,
                                   const struct weir_waiter *waiter, struct weir_error *err);
// Whether one that has lain idle is of use still. Does not wait.
bool weir_nats_client_is_alive(struct weir_nats_client *client);

#endif
