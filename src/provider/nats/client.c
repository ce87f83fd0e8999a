// SPDX-License-Identifier: Apache-2.0
//
// See client.h.
#include "provider/nats/client.h"

#include "base/clock.h"
#include "provider/dial.h"
#include "provider/nats/login.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECEIVE_BYTES = 64 << 10, // by one call of the system
    RECEIVE_AT_ONCE_MAX = 16, // such calls
    RANDOM_BYTES = 12,        // of an inbox
    COMPLAINT_BYTES = 256,
    OWN_SUBSCRIPTION = 1, // of those who ask
};

struct weir_nats_client {
    int fd;
    struct weir_tls_session *tls; // NULL: without
    struct weir_nats_buffer in;   // from the server, not read yet
    struct weir_nats_buffer out;  // to the server
    struct weir_nats_info info;
    char inbox[WEIR_NATS_INBOX_BYTES];
    char complaint[COMPLAINT_BYTES];
    int64_t heard_ns;
    uint64_t pongs, pings, serial;
    bool asks; // it has subscribed to answers
};

// ---- what it is ----

int weir_nats_client_fd(const struct weir_nats_client *client) {
    return client->fd;
}

short weir_nats_client_events(const struct weir_nats_client *client) {
    bool has_unsent = weir_nats_buffer_view(&client->out).size > 0;
    return client->tls ? weir_tls_events(client->tls, has_unsent)
                       : (short)(POLLIN | (has_unsent ? POLLOUT : 0));
}

const struct weir_nats_info *weir_nats_client_info(const struct weir_nats_client *client) {
    return &client->info;
}

bool weir_nats_client_is_secret(const struct weir_nats_client *client) {
    return client->tls != NULL;
}

const char *weir_nats_client_inbox(const struct weir_nats_client *client) {
    return client->inbox;
}

const char *weir_nats_client_complaint(const struct weir_nats_client *client) {
    return client->complaint;
}

void weir_nats_client_forgive(struct weir_nats_client *client) {
    client->complaint[0] = '\0';
}

int64_t weir_nats_client_heard_ns(const struct weir_nats_client *client) {
    return client->heard_ns;
}

uint64_t weir_nats_client_pongs(const struct weir_nats_client *client) {
    return client->pongs;
}

// ---- bytes ----

static weir_status fail_gone(const struct weir_nats_client *client, int code,
                             struct weir_error *err) {
    char buffer[128];
    return weir_fail(err, WEIR_UNAVAILABLE, "the NATS server has closed the connection%s%s%s%s",
                     code ? ": " : "", code ? strerror_r(code, buffer, sizeof buffer) : "",
                     client->complaint[0] ? ": " : "", client->complaint);
}

// Reads once. WEIR_AGAIN: nothing is there. *ret_size 0: the other side has closed.
static weir_status read_bytes(struct weir_nats_client *client, char *bytes, size_t *ret_size,
                              struct weir_error *err) {
    *ret_size = 0;
    if (client->tls) {
        return weir_tls_read(client->tls, bytes, RECEIVE_BYTES, ret_size, err);
    }
    ssize_t got = recv(client->fd, bytes, RECEIVE_BYTES, 0);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? WEIR_AGAIN : fail_gone(client, errno, err);
    }
    *ret_size = (size_t)got;
    return WEIR_OK;
}

weir_status weir_nats_client_receive(struct weir_nats_client *client, struct weir_error *err) {
    for (int i = 0; i < RECEIVE_AT_ONCE_MAX; i++) {
        size_t size = 0;
        if (!weir_nats_buffer_reserve(&client->in, RECEIVE_BYTES)) {
            return weir_fail_no_memory(err, "what a NATS server sends");
        }
        weir_status status = read_bytes(client, client->in.bytes + client->in.end, &size, err);
        if (status == WEIR_OK && size == 0) {
            return fail_gone(client, 0, err);
        }
        if (status != WEIR_OK) {
            return status == WEIR_AGAIN ? WEIR_OK : status;
        }
        client->heard_ns = weir_clock_monotonic_ns();
        client->in.end += size;
        if (size < RECEIVE_BYTES && !client->tls) { // a record of TLS says nothing of the next one
            return WEIR_OK;
        }
    }
    return WEIR_OK;
}

// Writes once. WEIR_AGAIN: nothing was taken.
static weir_status write_bytes(struct weir_nats_client *client, struct weir_str bytes,
                               size_t *ret_size, struct weir_error *err) {
    *ret_size = 0;
    if (client->tls) {
        return weir_tls_write(client->tls, bytes.data, bytes.size, ret_size, err);
    }
    ssize_t sent = send(client->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN || errno == EINTR ? WEIR_AGAIN : fail_gone(client, errno, err);
    }
    *ret_size = (size_t)sent;
    return WEIR_OK;
}

weir_status weir_nats_client_send(struct weir_nats_client *client, struct weir_error *err) {
    for (struct weir_str left = weir_nats_buffer_view(&client->out); left.size > 0;
         left = weir_nats_buffer_view(&client->out)) {
        size_t sent;
        weir_status status = write_bytes(client, left, &sent, err);
        if (status != WEIR_OK) {
            return status == WEIR_AGAIN ? WEIR_OK : status;
        }
        weir_nats_buffer_take(&client->out, sent);
    }
    return WEIR_OK;
}

// ---- frames ----

static void note_complaint(struct weir_nats_client *client, struct weir_str text) {
    snprintf(client->complaint, sizeof client->complaint, "%.*s", WEIR_STR_ARG(text));
    for (char *at = client->complaint; *at; at++) { // it is a line of a message some day
        *at = *at < ' ' || *at == 0x7F ? '?' : *at;
    }
}

// Sees to what is no message.
static weir_status see_to(struct weir_nats_client *client, const struct weir_nats_frame *frame,
                          struct weir_error *err) {
    switch (frame->word) {
    case WEIR_NATS_PING:
        return weir_nats_put_line(&client->out, err, "PONG\r\n");
    case WEIR_NATS_PONG:
        client->pongs++;
        return WEIR_OK;
    case WEIR_NATS_ERR:
        note_complaint(client, frame->text);
        return WEIR_OK;
    case WEIR_NATS_INFO:
        return weir_nats_info_read(frame->text, &client->info, NULL, err);
    default:
        return WEIR_OK;
    }
}

// The next frame, whatever it is.
static weir_status take_frame(struct weir_nats_client *client, struct weir_nats_frame *ret_frame,
                              struct weir_error *err) {
    size_t taken;
    weir_status status = weir_nats_read(weir_nats_buffer_view(&client->in), ret_frame, &taken, err);
    if (status == WEIR_OK) {
        // The bytes stay where they are until something comes behind them.
        client->in.begin += taken;
    }
    return status;
}

weir_status weir_nats_client_next(struct weir_nats_client *client,
                                  struct weir_nats_frame *ret_frame, struct weir_error *err) {
    for (;;) { // ends: what was received is bounded
        weir_status status = take_frame(client, ret_frame, err);
        if (status == WEIR_AGAIN) {
            weir_nats_buffer_take(&client->in, 0);
        }
        if (status != WEIR_OK || ret_frame->word == WEIR_NATS_MESSAGE) {
            return status;
        }
        status = see_to(client, ret_frame, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

// ---- what is sent ----

static weir_status check_unsent(const struct weir_nats_client *client, size_t size,
                                struct weir_error *err) {
    size_t unsent = weir_nats_buffer_view(&client->out).size;
    return unsent + size <= WEIR_NATS_UNSENT_BYTES_MAX
               ? WEIR_OK
               : weir_fail(err, WEIR_LIMIT, "%zu bytes wait to be sent to the NATS server", unsent);
}

weir_status weir_nats_client_publish(struct weir_nats_client *client,
                                     const struct weir_nats_post *post, struct weir_error *err) {
    size_t size = post->headers.size + post->data.size;
    if (size > client->info.payload_bytes_max) {
        return weir_fail(err, WEIR_LIMIT,
                         "%zu bytes with headers are more than the NATS server takes (%llu); "
                         "max_payload in its configuration is that bound",
                         size, (unsigned long long)client->info.payload_bytes_max);
    }
    if (post->headers.size > 0 && !client->info.has_headers) {
        return weir_fail(err, WEIR_UNSUPPORTED,
                         "the NATS server takes no headers; it is older than 2.2");
    }
    weir_status status = check_unsent(client, size, err);
    return status == WEIR_OK ? weir_nats_put_post(&client->out, post, err) : status;
}

weir_status weir_nats_client_subscribe(struct weir_nats_client *client, struct weir_str subject,
                                       uint64_t subscription, struct weir_error *err) {
    weir_status status = check_unsent(client, subject.size, err);
    return status == WEIR_OK
               ? weir_nats_put_line(&client->out, err, "SUB %.*s %llu\r\n", WEIR_STR_ARG(subject),
                                    (unsigned long long)subscription)
               : status;
}

weir_status weir_nats_client_unsubscribe(struct weir_nats_client *client, uint64_t subscription,
                                         struct weir_error *err) {
    return weir_nats_put_line(&client->out, err, "UNSUB %llu\r\n",
                              (unsigned long long)subscription);
}

weir_status weir_nats_client_ping(struct weir_nats_client *client, struct weir_error *err) {
    client->pings++;
    return weir_nats_put_line(&client->out, err, "PING\r\n");
}

// ---- for callers that wait ----

// Waits for the socket once, and sends and receives what can be.
static weir_status turn(struct weir_nats_client *client, const struct weir_waiter *waiter,
                        struct weir_error *err) {
    weir_status status = weir_nats_client_send(client, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = weir_wait(waiter, client->fd, weir_nats_client_events(client));
    if (status != WEIR_OK) {
        return weir_fail(err, status, "the NATS server does not answer%s%s",
                         client->complaint[0] ? ": " : "", client->complaint);
    }
    return weir_nats_client_receive(client, err);
}

weir_status weir_nats_client_await(struct weir_nats_client *client,
                                   const struct weir_waiter *waiter,
                                   struct weir_nats_frame *ret_frame, struct weir_error *err) {
    for (;;) { // ends by the moment
        weir_status status = weir_nats_client_next(client, ret_frame, err);
        if (status != WEIR_AGAIN) {
            return status;
        }
        if (client->complaint[0]) {
            return weir_fail(err, WEIR_DENIED, "the NATS server refuses it: %s", client->complaint);
        }
        status = turn(client, waiter, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

weir_status weir_nats_client_ask(struct weir_nats_client *client, struct weir_nats_post post,
                                 const struct weir_waiter *waiter,
                                 struct weir_nats_frame *ret_frame, struct weir_error *err) {
    char reply[WEIR_NATS_INBOX_BYTES + 24];
    weir_status status = WEIR_OK;
    weir_nats_client_forgive(client);
    if (!client->asks) {
        snprintf(reply, sizeof reply, "%s.*", client->inbox);
        status = weir_nats_client_subscribe(client, weir_str_of(reply), OWN_SUBSCRIPTION, err);
        client->asks = status == WEIR_OK;
    }
    snprintf(reply, sizeof reply, "%s.%llu", client->inbox, (unsigned long long)++client->serial);
    post.reply = weir_str_of(reply);
    status = status == WEIR_OK ? weir_nats_client_publish(client, &post, err) : status;
    while (status == WEIR_OK) { // ends by the moment
        status = weir_nats_client_await(client, waiter, ret_frame, err);
        if (status == WEIR_OK && weir_str_equal(ret_frame->subject, post.reply)) {
            return WEIR_OK;
        }
    }
    return status;
}

weir_status weir_nats_client_flush(struct weir_nats_client *client,
                                   const struct weir_waiter *waiter, struct weir_error *err) {
    weir_nats_client_forgive(client);
    weir_status status = weir_nats_client_ping(client, err);
    while (status == WEIR_OK && client->pongs < client->pings) { // ends by the moment
        struct weir_nats_frame ignored;
        status = turn(client, waiter, err);
        weir_status next = WEIR_OK;
        while (status == WEIR_OK && next == WEIR_OK) { // ends: what was received is bounded
            next = weir_nats_client_next(client, &ignored, err);
            status = next == WEIR_AGAIN ? WEIR_OK : next;
        }
    }
    return status == WEIR_OK && client->complaint[0]
               ? weir_fail(err, WEIR_DENIED, "the NATS server refuses it: %s", client->complaint)
               : status;
}

bool weir_nats_client_is_alive(struct weir_nats_client *client) {
    struct weir_nats_frame ignored;
    weir_status status = weir_nats_client_receive(client, NULL);
    while (status == WEIR_OK) { // ends: what was received is bounded
        status = weir_nats_client_next(client, &ignored, NULL);
    }
    return status == WEIR_AGAIN && weir_nats_client_send(client, NULL) == WEIR_OK;
}

// ---- opening ----

static weir_status new_client(const struct weir_nats_options *options,
                              struct weir_nats_client **ret_client, struct weir_error *err) {
    unsigned char random[RANDOM_BYTES];
    struct weir_nats_client *client = calloc(1, sizeof *client);
    *ret_client = client;
    if (!client) {
        return weir_fail_no_memory(err, "a connection");
    }
    client->fd = -1;
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        return weir_fail_errno(err, errno, "no random number for a connection");
    }
    int size = snprintf(client->inbox, sizeof client->inbox, "%s.", options->inbox);
    for (size_t i = 0; i < sizeof random; i++) {
        size +=
            snprintf(client->inbox + size, sizeof client->inbox - (size_t)size, "%02x", random[i]);
    }
    return WEIR_OK;
}

// The next frame of a connection that is not open yet.
static weir_status await_frame(struct weir_nats_client *client, const struct weir_waiter *waiter,
                               struct weir_nats_frame *ret_frame, struct weir_error *err) {
    for (;;) { // ends by the moment, and by the longest frame
        weir_status status = take_frame(client, ret_frame, err);
        if (status != WEIR_AGAIN) {
            return status;
        }
        status = turn(client, waiter, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

static weir_status begin_tls(struct weir_nats_client *client, const struct weir_nats_login *login,
                             const char *host, const struct weir_waiter *waiter,
                             struct weir_error *err) {
    const struct weir_tls_args args = {.fd = client->fd, .host = host};
    if (weir_nats_buffer_view(&client->in).size > 0) { // nobody vouches for it
        return weir_fail(err, WEIR_INVALID, "the server says more than it may before TLS");
    }
    return weir_tls_begin(login->tls, &args, waiter, &client->tls, err);
}

// Waits for the server's word on who connects.
static weir_status await_welcome(struct weir_nats_client *client, const struct weir_waiter *waiter,
                                 struct weir_error *err) {
    for (;;) { // ends by the moment
        struct weir_nats_frame frame;
        weir_status status = await_frame(client, waiter, &frame, err);
        if (status != WEIR_OK || frame.word == WEIR_NATS_PONG) {
            return status;
        }
        if (frame.word == WEIR_NATS_ERR) {
            note_complaint(client, frame.text);
            return weir_fail(err, WEIR_DENIED,
                             "the NATS server does not let weir in: %s; see user, password, token, "
                             "nkey, credentials",
                             client->complaint);
        }
        status = frame.word == WEIR_NATS_MESSAGE ? WEIR_OK : see_to(client, &frame, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
}

static weir_status log_in(struct weir_nats_client *client, const struct weir_nats_login *login,
                          const char *host, const struct weir_waiter *waiter,
                          struct weir_error *err) {
    struct weir_nats_frame frame;
    char nonce[WEIR_NATS_NONCE_BYTES];
    weir_status status = await_frame(client, waiter, &frame, err);
    if (status == WEIR_OK && frame.word != WEIR_NATS_INFO) {
        status = weir_fail(err, WEIR_INVALID, "what answers is no NATS server");
    }
    status =
        status == WEIR_OK ? weir_nats_info_read(frame.text, &client->info, nonce, err) : status;
    if (status == WEIR_OK && (login->options->tls || client->info.wants_tls)) {
        status = begin_tls(client, login, host, waiter, err);
    }
    if (status == WEIR_OK) {
        status = weir_nats_login_put(&client->out, login->options, login->name, nonce, err);
    }
    status = status == WEIR_OK ? weir_nats_client_ping(client, err) : status;
    status = status == WEIR_OK ? await_welcome(client, waiter, err) : status;
    weir_nats_buffer_finish(&client->out); // there was a secret in it
    client->pongs = client->pings;
    return status;
}

static void hang_up(struct weir_nats_client *client) {
    weir_tls_end(client->tls);
    client->tls = NULL;
    if (client->fd >= 0) {
        close(client->fd);
    }
    client->fd = -1;
    weir_nats_buffer_finish(&client->in);
    weir_nats_buffer_finish(&client->out);
}

static weir_status try_server(struct weir_nats_client *client, const struct weir_nats_login *login,
                              const struct weir_nats_server *server,
                              const struct weir_waiter *waiter, struct weir_error *err) {
    struct addrinfo *addresses;
    size_t count = 0;
    const struct weir_place place = {.host = server->host, .port = server->port};
    weir_status status = weir_lookup(login->lookups, &place, waiter, &addresses, err);
    if (status != WEIR_OK) {
        return status;
    }
    for (const struct addrinfo *at = addresses; at; at = at->ai_next) {
        count++;
    }
    for (const struct addrinfo *at = addresses; at; at = at->ai_next, count--) {
        struct weir_waiter share = weir_waiter_share(waiter, count);
        hang_up(client);
        status = weir_dial(at->ai_addr, at->ai_addrlen, &share, &client->fd, err);
        status = status == WEIR_OK ? log_in(client, login, server->host, &share, err) : status;
        if (status == WEIR_OK || status == WEIR_STOPPED) {
            break;
        }
    }
    freeaddrinfo(addresses);
    return status;
}

weir_status weir_nats_client_open(const struct weir_nats_login *login,
                                  const struct weir_waiter *waiter,
                                  struct weir_nats_client **ret_client, struct weir_error *err) {
    struct weir_nats_client *client;
    weir_status status = new_client(login->options, &client, err);
    const struct weir_nats_servers *servers = login->servers;
    size_t first = client ? (unsigned char)client->inbox[strlen(client->inbox) - 1] : 0;
    for (size_t i = 0; status == WEIR_OK && i < servers->count; i++) {
        const struct weir_nats_server *server = &servers->items[(first + i) % servers->count];
        struct weir_waiter share = weir_waiter_share(waiter, servers->count - i);
        status = try_server(client, login, server, &share, err);
        if (status == WEIR_OK) {
            *ret_client = client;
            return WEIR_OK;
        }
        weir_error_prefix(err, status, "cannot connect to NATS at %s:%s", server->host,
                          server->port);
        status = i + 1 < servers->count && status != WEIR_STOPPED ? WEIR_OK : status;
    }
    weir_nats_client_close(client);
    *ret_client = NULL;
    return status;
}

void weir_nats_client_close(struct weir_nats_client *client) {
    if (client) {
        hang_up(client);
        free(client);
    }
}
