// SPDX-License-Identifier: Apache-2.0
//
// See session.h.
//
// A connection that is half open shows by silence: a PING is sent on each of the two when nothing
// has come for a while, and what is not answered within the endpoint's time is lost. Something that
// comes, be it a part of a long reply, starts that time anew.
//
// Prefixes. The server compares each key that changes with each prefix that anybody listens to, so
// there are few of them: when there would be more, one that all have in common takes their place,
// the empty one at worst. Prefixes that are listened to may not overlap, and none can be taken back
// alone; so a change of that kind is to stop listening and to begin anew, and a moment is unheard.
#include "provider/redis/session.h"

#include "base/clock.h"
#include "provider/redis/names.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MESSAGES_AT_ONCE_MAX = 256, // of the bell, before something else is done
    ANSWERS_AT_ONCE_MAX = 1024,
    UNSENT_BYTES_MAX = 4 << 20, // of the line, before more is asked
    END_WAIT_MS = 500,          // for the last answers
    TRACKING_WORDS_MAX = 6 + 2 * WEIR_REDIS_PREFIXES_MAX,
};

#define CHANNEL "__redis__:invalidate"

// A command without its answer.
struct asked {
    weir_redis_answer *answer; // NULL: nobody wants to know
    void *token;
    struct weir_redis_reply **ret_reply; // of weir_redis_session_call; NULL: it does not wait
};

struct prefix {
    char *text; // owned
    size_t size;
};

struct weir_redis_session {
    struct weir_redis_session_args args;
    struct weir_hub *hub;
    struct weir_redis_connection *bell, *line;   // both or none
    int64_t retry_ns;                            // when to connect again
    int64_t bell_heard_ns, bell_pinged_ns;       // pinged: 0: no PING is under way
    struct asked asked[WEIR_REDIS_PIPELINE_MAX]; // a ring
    size_t asked_first, asked_count;
    int64_t asked_since_ns; // since when something is asked
    struct prefix prefixes[WEIR_REDIS_PREFIXES_MAX + 1];
    size_t prefix_count;
    bool is_connecting; // `connected` is being called
    bool has_more;      // what has come was not taken all
    uint64_t reply_bytes_max;
};

// ---- making ----

weir_status weir_redis_session_create(const struct weir_redis_session_args *args,
                                      struct weir_redis_session **ret_session,
                                      struct weir_error *err) {
    struct weir_redis_session *session = calloc(1, sizeof *session);
    *ret_session = session;
    if (!session) {
        return weir_fail_no_memory(err, "a resource");
    }
    session->args = *args;
    session->reply_bytes_max = WEIR_REDIS_REPLY_BYTES_MAX;
    return WEIR_OK;
}

void weir_redis_session_set_hub(struct weir_redis_session *session, struct weir_hub *hub) {
    session->hub = hub;
}

static void forget_prefixes(struct weir_redis_session *session) {
    for (size_t i = 0; i < session->prefix_count; i++) {
        free(session->prefixes[i].text);
    }
    session->prefix_count = 0;
}

static void disconnect(struct weir_redis_session *session) {
    weir_redis_disconnect(session->bell);
    weir_redis_disconnect(session->line);
    session->bell = session->line = NULL;
    session->asked_count = 0;
    forget_prefixes(session);
}

// Waits for the answers to what was asked last: a connection that is closed before it has read them
// may take with it what the server has not read.
static void await_last_answers(struct weir_redis_session *session) {
    const struct weir_waiter waiter = {.until_ns = weir_clock_monotonic_ns() +
                                                   END_WAIT_MS * WEIR_NS_PER_MS};
    weir_status status = WEIR_OK;
    for (; session->line && status == WEIR_OK && session->asked_count > 0; session->asked_count--) {
        struct weir_redis_reply *reply;
        status = weir_redis_await(session->line, &waiter, &reply, NULL);
        weir_redis_reply_free(reply);
    }
}

void weir_redis_session_destroy(struct weir_redis_session *session) {
    if (session) {
        await_last_answers(session);
        disconnect(session);
        free(session);
    }
}

bool weir_redis_session_is_up(const struct weir_redis_session *session) {
    return session->line != NULL;
}

void weir_redis_session_fail(struct weir_redis_session *session, const struct weir_error *cause) {
    if (!session->line) {
        return;
    }
    disconnect(session);
    session->retry_ns = weir_link_down(session->args.link, cause);
    session->args.functions->lost(session->args.context);
}

void weir_redis_session_bound(struct weir_redis_session *session, uint64_t reply_bytes_max) {
    if (reply_bytes_max > session->reply_bytes_max) {
        session->reply_bytes_max = reply_bytes_max;
    }
    if (session->line) {
        weir_redis_bound(session->line, session->reply_bytes_max);
    }
}

// ---- asking ----

bool weir_redis_session_has_room(const struct weir_redis_session *session, size_t commands) {
    return session->line && session->asked_count + commands <= WEIR_REDIS_PIPELINE_MAX &&
           weir_redis_unsent_bytes(session->line) <= UNSENT_BYTES_MAX;
}

static weir_status ask(struct weir_redis_session *session, const struct weir_str *words,
                       size_t count, const struct asked *asked) {
    if (!weir_redis_session_has_room(session, 1)) {
        return WEIR_AGAIN;
    }
    weir_status status = weir_redis_append(session->line, words, count, NULL);
    if (status == WEIR_OK) {
        if (session->asked_count == 0) {
            session->asked_since_ns = weir_clock_monotonic_ns();
        }
        size_t at = (session->asked_first + session->asked_count++) % WEIR_REDIS_PIPELINE_MAX;
        session->asked[at] = *asked;
    }
    return status;
}

weir_status weir_redis_session_ask(struct weir_redis_session *session, const struct weir_str *words,
                                   size_t count, weir_redis_answer *answer, void *token) {
    return ask(session, words, count, &(struct asked){.answer = answer, .token = token});
}

// Gives the reply to whom it is for.
static void give_answer(struct weir_redis_session *session, struct weir_redis_reply *reply) {
    struct asked asked = session->asked[session->asked_first];
    session->asked_first = (session->asked_first + 1) % WEIR_REDIS_PIPELINE_MAX;
    session->asked_count--;
    if (asked.ret_reply) {
        *asked.ret_reply = reply;
        return;
    }
    if (asked.answer) {
        asked.answer(session->args.context, asked.token, &reply);
    }
    weir_redis_reply_free(reply);
}

// Takes what has come on the line. Returns whether there may be more.
static bool take_answers(struct weir_redis_session *session) {
    struct weir_error error;
    for (int i = 0; session->line && i < ANSWERS_AT_ONCE_MAX; i++) {
        struct weir_redis_reply *reply;
        weir_status status = weir_redis_receive(session->line, &reply, &error);
        if (status == WEIR_AGAIN) {
            return false;
        }
        if (status == WEIR_OK && session->asked_count == 0) {
            weir_redis_reply_free(reply);
            status = weir_redis_reply_odd("a reply that nobody asked for", &error);
        }
        if (status != WEIR_OK) {
            weir_redis_session_fail(session, &error);
            return false;
        }
        give_answer(session, reply);
    }
    return session->line != NULL;
}

static void send_all(struct weir_redis_session *session) {
    struct weir_error error;
    if (session->line && (weir_redis_send(session->line, &error) != WEIR_OK ||
                          weir_redis_send(session->bell, &error) != WEIR_OK)) {
        weir_redis_session_fail(session, &error);
    }
}

void weir_redis_session_flush(struct weir_redis_session *session) {
    send_all(session);
}

static weir_status fail_lost(const struct weir_redis_session *session, struct weir_error *err) {
    struct weir_health health;
    weir_link_health(session->args.link, true, &health);
    return weir_fail(err, WEIR_UNAVAILABLE, "%s", health.reason);
}

weir_status weir_redis_session_call(struct weir_redis_session *session,
                                    const struct weir_str *words, size_t count, const char *doing,
                                    int64_t until_ns, struct weir_redis_reply **ret_reply,
                                    struct weir_error *err) {
    struct weir_redis_reply *reply = NULL;
    *ret_reply = NULL;
    int64_t ours_ns = weir_clock_monotonic_ns() + session->args.endpoint->timeout_ns;
    until_ns = ours_ns < until_ns ? ours_ns : until_ns;
    weir_status status;
    while ((status = ask(session, words, count, &(struct asked){.ret_reply = &reply})) ==
               WEIR_AGAIN &&
           session->line) { // ends: by then it is lost
        weir_redis_session_turn(session, until_ns, NULL);
    }
    while (status == WEIR_OK && !reply && session->line) { // ends: by then it is lost
        send_all(session);
        if (session->line && !session->has_more) {
            status = weir_hub_wait(session->hub, weir_redis_fd(session->line),
                                   weir_redis_events(session->line), until_ns);
        }
        if (status == WEIR_OK) {
            session->has_more = take_answers(session);
        }
    }
    if (reply) {
        status = doing ? weir_redis_reply_status(reply, doing, err) : WEIR_OK;
        *ret_reply = status == WEIR_OK ? reply : NULL;
        weir_redis_reply_free(status == WEIR_OK ? NULL : reply);
        return status;
    }
    struct weir_error error;
    weir_fail(&error, WEIR_UNAVAILABLE, "Redis at %s did not answer in time",
              session->args.endpoint->address);
    weir_redis_session_fail(session, &error); // the answer would be given to who is gone
    return status == WEIR_NO_MEMORY ? weir_fail_no_memory(err, "a command")
           : status == WEIR_STOPPED ? weir_fail(err, status, "the resource is being closed")
                                    : fail_lost(session, err);
}

// ---- the bell ----

static bool is_prefix_of(const struct prefix *prefix, struct weir_str text) {
    return weir_str_has_prefix(text, (struct weir_str){prefix->text, prefix->size});
}

static weir_status track(struct weir_redis_session *session, const struct weir_str *prefixes,
                         size_t count, int64_t until_ns, struct weir_error *err) {
    struct weir_str words[TRACKING_WORDS_MAX];
    char id[24];
    size_t at = 0;
    snprintf(id, sizeof id, "%" PRId64, weir_redis_connection_id(session->bell));
    words[at++] = WEIR_STR("CLIENT");
    words[at++] = WEIR_STR("TRACKING");
    words[at++] = WEIR_STR("ON");
    words[at++] = WEIR_STR("REDIRECT");
    words[at++] = weir_str_of(id);
    words[at++] = WEIR_STR("BCAST");
    for (size_t i = 0; i < count; i++) {
        words[at++] = WEIR_STR("PREFIX");
        words[at++] = prefixes[i];
    }
    struct weir_redis_reply *reply;
    weir_status status =
        weir_redis_session_call(session, words, at, "listening for changes", until_ns, &reply, err);
    weir_redis_reply_free(reply);
    return status;
}

static weir_status track_all(struct weir_redis_session *session, int64_t until_ns,
                             struct weir_error *err) {
    struct weir_str prefixes[WEIR_REDIS_PREFIXES_MAX];
    for (size_t i = 0; i < session->prefix_count; i++) {
        prefixes[i] = (struct weir_str){session->prefixes[i].text, session->prefixes[i].size};
    }
    return session->prefix_count == 0
               ? WEIR_OK
               : track(session, prefixes, session->prefix_count, until_ns, err);
}

static weir_status track_nothing(struct weir_redis_session *session, int64_t until_ns,
                                 struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("CLIENT"), WEIR_STR("TRACKING"), WEIR_STR("OFF")};
    struct weir_redis_reply *reply;
    weir_status status =
        weir_redis_session_call(session, words, 3, "listening for changes", until_ns, &reply, err);
    weir_redis_reply_free(reply);
    return status;
}

enum change { NO_CHANGE, ONE_MORE, OTHERS };

// What all prefixes have in common takes their place.
static void merge_prefixes(struct weir_redis_session *session) {
    struct prefix *first = &session->prefixes[0];
    for (size_t i = 1; i < session->prefix_count; i++) {
        const struct prefix *other = &session->prefixes[i];
        first->size = weir_redis_common_bytes((struct weir_str){first->text, first->size},
                                              (struct weir_str){other->text, other->size});
        free(other->text);
    }
    session->prefix_count = 1;
}

// Adds a prefix to those that are wanted. False without memory.
static bool note_prefix(struct weir_redis_session *session, struct weir_str prefix,
                        enum change *ret_change) {
    *ret_change = NO_CHANGE;
    for (size_t i = 0; i < session->prefix_count; i++) {
        if (is_prefix_of(&session->prefixes[i], prefix)) {
            return true;
        }
    }
    char *copy = weir_str_copy(prefix);
    if (!copy) {
        return false;
    }
    *ret_change = ONE_MORE;
    for (size_t i = 0; i < session->prefix_count;) {
        struct prefix *each = &session->prefixes[i];
        if (weir_str_has_prefix((struct weir_str){each->text, each->size}, prefix)) {
            free(each->text);
            *each = session->prefixes[--session->prefix_count];
            *ret_change = OTHERS;
        } else {
            i++;
        }
    }
    session->prefixes[session->prefix_count++] = (struct prefix){copy, prefix.size};
    if (session->prefix_count > WEIR_REDIS_PREFIXES_MAX) {
        merge_prefixes(session);
        *ret_change = OTHERS;
    }
    return true;
}

weir_status weir_redis_session_want(struct weir_redis_session *session, struct weir_str prefix,
                                    int64_t until_ns, struct weir_error *err) {
    enum change change;
    if (!session->line) {
        return fail_lost(session, err);
    }
    if (!note_prefix(session, prefix, &change)) {
        return weir_fail_no_memory(err, "what is listened for");
    }
    if (session->is_connecting || change == NO_CHANGE) {
        return WEIR_OK;
    }
    weir_status status;
    if (change == ONE_MORE) {
        status = track(session, &prefix, 1, until_ns, err);
    } else {
        status = track_nothing(session, until_ns, err);
        status = status == WEIR_OK ? track_all(session, until_ns, err) : status;
        session->args.functions->missed(session->args.context);
    }
    if (status != WEIR_OK && session->line) {
        struct weir_error error = {.status = status};
        weir_fail(&error, status, "the server does not tell of changes");
        weir_redis_session_fail(session,
                                err ? err : &error); // it is not known what is listened for
    }
    return status;
}

void weir_redis_session_want_nothing(struct weir_redis_session *session) {
    const struct weir_str words[] = {WEIR_STR("CLIENT"), WEIR_STR("TRACKING"), WEIR_STR("OFF")};
    if (session->prefix_count > 0 && session->line &&
        weir_redis_session_ask(session, words, 3, NULL, NULL) == WEIR_OK) {
        forget_prefixes(session);
    }
}

// A message: ["message", channel, keys] or, of a flushed database, [..., nil]. Others are answers
// to SUBSCRIBE and PING.
static void take_message(struct weir_redis_session *session, const struct weir_redis_reply *reply) {
    const struct weir_redis_session_functions *functions = session->args.functions;
    if (!weir_redis_reply_says(weir_redis_reply_at(reply, 0), "message")) {
        return;
    }
    const struct weir_redis_reply *keys = weir_redis_reply_at(reply, 2);
    if (weir_redis_reply_is(keys, WEIR_REDIS_NIL)) {
        functions->missed(session->args.context);
        return;
    }
    const struct weir_redis_reply *key;
    for (size_t i = 0; (key = weir_redis_reply_at(keys, i)); i++) {
        if (weir_redis_reply_is(key, WEIR_REDIS_BULK)) {
            functions->rung(session->args.context, key->bytes);
        }
    }
}

// Takes what has come from the bell. Returns whether there may be more.
static bool take_messages(struct weir_redis_session *session) {
    struct weir_error error;
    for (int i = 0; session->bell && i < MESSAGES_AT_ONCE_MAX; i++) {
        struct weir_redis_reply *reply;
        weir_status status = weir_redis_receive(session->bell, &reply, &error);
        if (status == WEIR_AGAIN) {
            return false;
        }
        if (status == WEIR_OK) {
            status = weir_redis_reply_status(reply, "listening for changes", &error);
        }
        if (status == WEIR_OK) {
            session->bell_heard_ns = weir_clock_monotonic_ns();
            session->bell_pinged_ns = 0;
            take_message(session, reply);
        } else {
            weir_redis_session_fail(session, &error);
        }
        weir_redis_reply_free(reply);
    }
    return session->bell != NULL;
}

// ---- connecting ----

static weir_status subscribe(struct weir_redis_session *session, const struct weir_waiter *waiter,
                             struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("SUBSCRIBE"), WEIR_STR(CHANNEL)};
    struct weir_redis_reply *reply = NULL;
    if (weir_redis_connection_id(session->bell) == 0) {
        return weir_fail(err, WEIR_DENIED,
                         "Redis at %s does not tell the id of a connection; give the user the "
                         "right: ACL SETUSER NAME +client|id +client|tracking",
                         session->args.endpoint->address);
    }
    weir_status status = weir_redis_append(session->bell, words, 2, err);
    if (status == WEIR_OK) {
        status = weir_redis_await(session->bell, waiter, &reply, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_reply_status(reply, "subscribing to the channel " CHANNEL, err);
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status connect_both(struct weir_redis_session *session, int64_t until_ns,
                                struct weir_error *err) {
    const struct weir_redis_endpoint *endpoint = session->args.endpoint;
    const struct weir_waiter waiter = {.hub = session->hub, .until_ns = until_ns};
    forget_prefixes(session);
    weir_status status = weir_redis_connect(endpoint, &waiter, &session->bell, err);
    if (status == WEIR_OK) {
        status = subscribe(session, &waiter, err);
    }
    if (status == WEIR_OK) {
        status = weir_redis_connect(endpoint, &waiter, &session->line, err);
    }
    if (status != WEIR_OK) {
        disconnect(session);
        return status;
    }
    weir_redis_bound(session->line, session->reply_bytes_max);
    session->bell_heard_ns = weir_clock_monotonic_ns();
    session->bell_pinged_ns = 0;
    session->asked_first = session->asked_count = 0;
    return WEIR_OK;
}

weir_status weir_redis_session_ensure(struct weir_redis_session *session, int64_t until_ns,
                                      struct weir_error *err) {
    struct weir_error error = {0};
    if (session->line) {
        return WEIR_OK;
    }
    int64_t ours_ns = weir_clock_monotonic_ns() + 2 * session->args.endpoint->timeout_ns;
    until_ns = ours_ns < until_ns ? ours_ns : until_ns;
    weir_status status = connect_both(session, until_ns, &error);
    if (status == WEIR_OK) {
        session->is_connecting = true;
        session->args.functions->connected(session->args.context);
        session->is_connecting = false;
        status = track_all(session, until_ns, &error);
        if (status == WEIR_OK && !session->line) { // lost behind the answer
            return fail_lost(session, err);
        }
        if (status != WEIR_OK) {
            disconnect(session);
            session->args.functions->lost(session->args.context);
        }
    }
    if (status == WEIR_OK) {
        weir_link_up(session->args.link);
        session->args.functions->missed(session->args.context);
    } else if (status != WEIR_STOPPED) {
        session->retry_ns = weir_link_down(session->args.link, &error);
    }
    if (err) {
        *err = error;
    }
    return status;
}

// ---- working ----

// Looks whether both still answer. Returns when to look again.
static int64_t check(struct weir_redis_session *session) {
    const struct weir_str words[] = {WEIR_STR("PING")};
    int64_t now_ns = weir_clock_monotonic_ns();
    int64_t timeout_ns = session->args.endpoint->timeout_ns, ping_ns = session->args.ping_ns;
    int64_t heard_ns = weir_redis_heard_ns(session->line);
    int64_t since_ns = session->asked_since_ns > heard_ns ? session->asked_since_ns : heard_ns;
    bool is_line_late = session->asked_count > 0 && now_ns - since_ns > timeout_ns;
    bool is_bell_late =
        session->bell_pinged_ns != 0 && now_ns - session->bell_pinged_ns > timeout_ns;
    if (is_line_late || is_bell_late) {
        struct weir_error error;
        weir_fail(&error, WEIR_UNAVAILABLE, "Redis at %s did not answer within %" PRId64 " ms",
                  session->args.endpoint->address, timeout_ns / WEIR_NS_PER_MS);
        weir_redis_session_fail(session, &error);
        return session->retry_ns;
    }
    if (session->bell_pinged_ns == 0 && now_ns - session->bell_heard_ns >= ping_ns &&
        weir_redis_append(session->bell, words, 1, NULL) == WEIR_OK) {
        session->bell_pinged_ns = now_ns;
    }
    if (session->asked_count == 0 && now_ns - heard_ns >= ping_ns) {
        weir_redis_session_ask(session, words, 1, NULL, NULL);
    }
    int64_t bell_ns = session->bell_pinged_ns ? session->bell_pinged_ns + timeout_ns
                                              : session->bell_heard_ns + ping_ns;
    int64_t line_ns = session->asked_count > 0 ? since_ns + timeout_ns : heard_ns + ping_ns;
    return (bell_ns < line_ns ? bell_ns : line_ns) + WEIR_NS_PER_MS;
}

static void take_all(struct weir_redis_session *session) {
    bool has_messages = take_messages(session);
    bool has_answers = take_answers(session);
    session->has_more = has_messages || has_answers;
}

// Sends what there is to be sent. Returns when there is more to do.
static int64_t send_more(struct weir_redis_session *session) {
    int64_t pump_ns = session->line ? session->args.functions->pump(session->args.context) : 0;
    int64_t check_ns = session->line ? check(session) : 0;
    send_all(session);
    if (!session->line) {
        return session->retry_ns;
    }
    return session->has_more ? 0 : pump_ns < check_ns ? pump_ns : check_ns;
}

int64_t weir_redis_session_work(struct weir_redis_session *session) {
    if (!session->line) {
        if (!session->args.functions->is_wanted(session->args.context)) {
            return INT64_MAX;
        }
        if (weir_clock_monotonic_ns() < session->retry_ns) {
            return session->retry_ns;
        }
        if (weir_redis_session_ensure(session, INT64_MAX, NULL) != WEIR_OK) {
            return session->retry_ns;
        }
    }
    take_all(session);
    return send_more(session);
}

size_t weir_redis_session_wait_for(struct weir_redis_session *session,
                                   struct pollfd ret_fds[static WEIR_HUB_FDS_MAX]) {
    if (!session->line) {
        return 0;
    }
    ret_fds[0] = (struct pollfd){.fd = weir_redis_fd(session->bell),
                                 .events = weir_redis_events(session->bell)};
    ret_fds[1] = (struct pollfd){.fd = weir_redis_fd(session->line),
                                 .events = weir_redis_events(session->line)};
    return 2;
}

weir_status weir_redis_session_turn(struct weir_redis_session *session, int64_t until_ns,
                                    struct weir_error *err) {
    int64_t due_ns = send_more(session);
    if (!session->line) {
        return fail_lost(session, err);
    }
    weir_status status = WEIR_OK;
    if (due_ns != 0) {
        status =
            weir_hub_wait(session->hub, weir_redis_fd(session->line),
                          weir_redis_events(session->line), due_ns < until_ns ? due_ns : until_ns);
    }
    if (status == WEIR_STOPPED) {
        return weir_fail(err, status, "the resource is being closed");
    }
    if (status == WEIR_UNAVAILABLE && weir_clock_monotonic_ns() >= until_ns) {
        return weir_fail(err, status, "Redis at %s did not answer in time",
                         session->args.endpoint->address);
    }
    take_all(session);
    return session->line ? WEIR_OK : fail_lost(session, err);
}
