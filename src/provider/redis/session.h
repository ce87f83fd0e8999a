// SPDX-License-Identifier: Apache-2.0
//
// What all watches of a resource share: two connections of the hub's thread. On one, the bell, the
// server tells which keys have changed; the other, the line, is for everything that is asked, as a
// pipeline. Both come and go together: whoever has lost the bell may have missed something, and the
// bell is rung because of what was asked on the line.
//
// The bell is the server's client-side caching in its broadcasting mode (CLIENT TRACKING, Redis 6):
// it names each key with a prefix that was changed, by whoever and whatever, expired and evicted
// keys and flushed databases among them, once for all changes of one turn of the server's loop.
// Keyspace notifications were left: they have to be switched on by somebody with the right to
// configure the server, come as two messages for each command, and say nothing of a flushed
// database.
//
// On the hub's thread, all of it.
#ifndef WEIR_PROVIDER_REDIS_SESSION_H
#define WEIR_PROVIDER_REDIS_SESSION_H

#include "provider/hub.h"
#include "provider/link.h"
#include "provider/redis/connection.h"

struct weir_redis_session;

enum {
    WEIR_REDIS_PIPELINE_MAX = 1024, // commands without an answer yet
    WEIR_REDIS_PREFIXES_MAX = 8,    // that the server compares each changed key with
};

// What a mode makes of it.
struct weir_redis_session_functions {
    // Whether there is a reason to be connected.
    bool (*is_wanted)(void *context);
    // The connection is there; nothing is known of what was before. Calls weir_redis_session_want
    // for what is watched; then the bell is hung up, and `missed` called.
    void (*connected)(void *context);
    // Something may have changed unheard, anything.
    void (*missed)(void *context);
    // The connection is gone: what was sent is not answered any more.
    void (*lost)(void *context);
    // A key may have changed, in this database or in another one.
    void (*rung)(void *context, struct weir_str key);
    // Sends what there is to be sent. Returns when it wants to be called, if nothing comes before.
    int64_t (*pump)(void *context);
};

struct weir_redis_session_args {
    const struct weir_redis_endpoint *endpoint;
    const struct weir_redis_session_functions *functions;
    void *context;
    struct weir_link *link;
    int64_t ping_ns;
};

weir_status weir_redis_session_create(const struct weir_redis_session_args *args,
                                      struct weir_redis_session **ret_session,
                                      struct weir_error *err);
// Once, before it is used.
void weir_redis_session_set_hub(struct weir_redis_session *session, struct weir_hub *hub);
// The hub's thread must have ended. NULL is allowed.
void weir_redis_session_destroy(struct weir_redis_session *session);

// For the hub: see struct weir_hub_functions.
size_t weir_redis_session_wait_for(struct weir_redis_session *session,
                                   struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]);
int64_t weir_redis_session_work(struct weir_redis_session *session);

bool weir_redis_session_is_up(const struct weir_redis_session *session);
// Connects now, if it is not. WEIR_UNAVAILABLE, WEIR_DENIED, WEIR_STOPPED, ...
weir_status weir_redis_session_ensure(struct weir_redis_session *session, int64_t until_ns,
                                      struct weir_error *err);
// Gives the connection up because of what came on it.
void weir_redis_session_fail(struct weir_redis_session *session, const struct weir_error *cause);

// Lets replies be so large, from now on.
void weir_redis_session_bound(struct weir_redis_session *session, uint64_t reply_bytes_max);

// Has the bell ring for keys with this prefix. In `connected` it notes that; later it waits for the
// server, and `missed` is called where that left a moment unheard. WEIR_UNAVAILABLE, ...
weir_status weir_redis_session_want(struct weir_redis_session *session, struct weir_str prefix,
                                    int64_t until_ns, struct weir_error *err);
// Nothing is wanted any more.
void weir_redis_session_want_nothing(struct weir_redis_session *session);

// Told the reply to a command. It stays the session's unless *reply is set to NULL. Not called
// where the connection is lost.
typedef void weir_redis_answer(void *context, void *token, struct weir_redis_reply **reply);

// Whether so many commands would be taken now.
bool weir_redis_session_has_room(const struct weir_redis_session *session, size_t commands);
// Sends a command. WEIR_AGAIN: there is no room now, or no connection; WEIR_NO_MEMORY.
weir_status weir_redis_session_ask(struct weir_redis_session *session, const struct weir_str *words,
                                   size_t count, weir_redis_answer *answer, void *token);
// Sends a command and waits for the reply, which the caller frees; what was asked before is
// answered meanwhile. Not in an answer. An error reply is an error, and `doing` says what it was
// for; with `doing` NULL it is a reply like others.
weir_status weir_redis_session_call(struct weir_redis_session *session,
                                    const struct weir_str *words, size_t count, const char *doing,
                                    int64_t until_ns, struct weir_redis_reply **ret_reply,
                                    struct weir_error *err);
// Sends what was asked, as far as the socket takes it, and not with the next turn.
void weir_redis_session_flush(struct weir_redis_session *session);
// Sends what there is to be sent, waits until something comes on the line, and takes it.
// WEIR_UNAVAILABLE (nothing came by the moment, or it is lost), WEIR_STOPPED.
weir_status weir_redis_session_turn(struct weir_redis_session *session, int64_t until_ns,
                                    struct weir_error *err);

#endif
