// SPDX-License-Identifier: Apache-2.0
//
// One connection to the control socket, as the asked side sees it. Everything is bounded: what is
// read (one request), what is sent (one answer, or one batch of a tail's lines), and how long both
// may take. A step does a bounded piece of work, so that one who sends many requests at once waits
// between them like everybody else.
//
// Control thread.
#include "control/server.h"

#include "base/clock.h"
#include "control/request.h"
#include "flow/flow.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static int64_t in_ms(int64_t ms) {
    return weir_clock_monotonic_ns() + ms * WEIR_NS_PER_MS;
}

struct weir_control_client *weir_control_client_create(int fd) {
    struct weir_control_client *client = malloc(sizeof *client);
    if (!client) {
        close(fd);
        return NULL;
    }
    // Not the buffer: most of it is never touched.
    client->fd = fd;
    client->tail = -1;
    client->is_last = client->has_turn = false;
    client->due_ns = in_ms(WEIR_CONTROL_REQUEST_MS);
    client->in_size = 0;
    client->out = NULL;
    client->out_size = client->out_done = 0;
    return client;
}

static void forget_answer(struct weir_control *control, struct weir_control_client *client) {
    if (client->out) {
        control->waiting_bytes -= client->out_size;
        free(client->out);
        client->out = NULL;
    }
}

void weir_control_client_destroy(struct weir_control *control, struct weir_control_client *client) {
    forget_answer(control, client);
    if (client->tail >= 0) {
        weir_control_tails_end(&control->tails, client->tail);
        control->tail_count--;
        if (control->tail_count == 0) {
            weir_flow_tap(control->flow, false);
        }
    }
    close(client->fd);
    free(client);
}

short weir_control_client_events(const struct weir_control_client *client) {
    if (client->out) {
        return POLLOUT;
    }
    // Who tails has nothing more to say; that it hung up is told without being asked for.
    return client->tail >= 0 ? 0 : POLLIN;
}

static const char *line_end(const struct weir_control_client *client) {
    return client->in_size > 0 ? memchr(client->in, '\n', client->in_size) : NULL;
}

bool weir_control_client_is_ready(const struct weir_control_client *client) {
    return !client->out && (client->tail >= 0 ? client->has_turn : line_end(client) != NULL);
}

// ---- answers ----

// Takes over the text.
static void send_text(struct weir_control *control, struct weir_control_client *client, char *text,
                      size_t size) {
    client->out = text;
    client->out_size = size;
    client->out_done = 0;
    control->waiting_bytes += size;
    client->due_ns = client->tail >= 0 ? INT64_MAX : in_ms(WEIR_CONTROL_ANSWER_MS);
}

static const char no_memory_answer[] =
    "{\"error\":\"weir has no memory for the answer\",\"status\":\"no-memory\"}\n";

// Takes over the JSON; NULL: no memory. What cannot be made at all ends the connection, by is_last
// with nothing to send.
static void send_json(struct weir_control *control, struct weir_control_client *client,
                      json_t *json) {
    size_t size = json ? json_dumpb(json, NULL, 0, JSON_COMPACT) : 0;
    char *text = size > 0 ? malloc(size + 1) : NULL;
    if (text) {
        json_dumpb(json, text, size, JSON_COMPACT);
        text[size++] = '\n';
    } else {
        text = strdup(no_memory_answer);
        size = sizeof no_memory_answer - 1;
    }
    json_decref(json);
    client->is_last = client->is_last || !text;
    if (text) {
        send_text(control, client, text, size);
    }
}

static void send_error(struct weir_control *control, struct weir_control_client *client,
                       const struct weir_error *err) {
    send_json(control, client, weir_control_error_json(err));
}

// ---- requests ----

static weir_status answer_status(struct weir_control *control, struct weir_control_client *client,
                                 struct weir_error *err) {
    if (control->waiting_bytes > WEIR_CONTROL_WAITING_BYTES_MAX) {
        return weir_fail(err, WEIR_AGAIN, "others have not taken their answers yet: ask again");
    }
    json_t *json;
    weir_status status = weir_control_status_json(&control->rates, control->flow, &json, err);
    if (status != WEIR_OK) {
        return status;
    }
    json_t *own = json_pack(
        "{s:I, s:s, s:I}", "pid", (json_int_t)getpid(), "version", WEIR_VERSION, "uptime_ms",
        (json_int_t)((weir_clock_monotonic_ns() - control->started_ns) / WEIR_NS_PER_MS));
    if (!own || json_object_update(json, own) != 0) {
        json_decref(json);
        json = NULL; // which send_json tells
    }
    json_decref(own);
    send_json(control, client, json);
    return WEIR_OK;
}

static weir_status answer_undead(struct weir_control *control, struct weir_control_client *client,
                                 const struct weir_control_request *request,
                                 struct weir_error *err) {
    weir_status status = weir_flow_undead(control->flow, request->id, request->again, err);
    if (status == WEIR_OK) {
        send_json(control, client, json_pack("{s:I}", "id", (json_int_t)request->id));
    }
    return status;
}

static weir_status begin_tail(struct weir_control *control, struct weir_control_client *client,
                              struct weir_control_request *request, struct weir_error *err) {
    int tail;
    weir_status status = weir_control_tails_begin(&control->tails, request, &tail, err);
    if (status != WEIR_OK) {
        return status;
    }
    client->tail = tail;
    control->tail_count++;
    if (control->tail_count == 1) {
        weir_flow_tap(control->flow, true);
    }
    send_json(control, client, json_pack("{s:b}", "tailing", 1));
    return WEIR_OK;
}

static void handle(struct weir_control *control, struct weir_control_client *client,
                   struct weir_str line) {
    struct weir_control_request request;
    struct weir_error err;
    weir_status status = weir_control_request_parse(line, &request, &err);
    if (status != WEIR_OK) {
        send_error(control, client, &err);
        return;
    }
    switch (request.command) {
    case WEIR_CONTROL_STATUS:
        status = answer_status(control, client, &err);
        break;
    case WEIR_CONTROL_UNDEAD:
        status = answer_undead(control, client, &request, &err);
        break;
    case WEIR_CONTROL_TAIL:
        status = begin_tail(control, client, &request, &err);
        break;
    }
    weir_control_request_finish(&request);
    if (status != WEIR_OK) {
        send_error(control, client, &err);
    }
}

// Handles one request, where there is a whole one.
static void handle_line(struct weir_control *control, struct weir_control_client *client) {
    const char *end = line_end(client);
    if (end) {
        size_t size = (size_t)(end - client->in);
        handle(control, client, (struct weir_str){.data = client->in, .size = size});
        client->in_size -= size + 1;
        memmove(client->in, end + 1, client->in_size);
    } else if (client->in_size == sizeof client->in) {
        struct weir_error err;
        weir_fail(&err, WEIR_LIMIT, "a request has at most %d bytes",
                  WEIR_CONTROL_REQUEST_BYTES_MAX);
        client->is_last = true;
        send_error(control, client, &err);
    }
}

// ---- bytes ----

// False: the other side has ended, or failed.
static bool take_bytes(struct weir_control_client *client) {
    size_t room = sizeof client->in - client->in_size;
    ssize_t more = read(client->fd, client->in + client->in_size, room);
    if (more <= 0) {
        return more < 0 && (errno == EAGAIN || errno == EINTR);
    }
    client->in_size += (size_t)more;
    return true;
}

static bool give_bytes(struct weir_control *control, struct weir_control_client *client) {
    ssize_t sent = send(client->fd, client->out + client->out_done,
                        client->out_size - client->out_done, MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    client->out_done += (size_t)sent;
    if (client->out_done == client->out_size) {
        forget_answer(control, client);
        client->has_turn = client->tail >= 0;
        client->due_ns = client->tail >= 0 ? INT64_MAX : in_ms(WEIR_CONTROL_REQUEST_MS);
    }
    return true;
}

bool weir_control_client_step(struct weir_control *control, struct weir_control_client *client,
                              short events, bool has_lines) {
    bool is_asking = !client->out && client->tail < 0;
    if ((events & (POLLERR | POLLNVAL)) ||
        ((events & POLLHUP) && !(is_asking && (events & POLLIN)))) {
        return false;
    }
    if (is_asking && (events & POLLIN) && !take_bytes(client)) {
        return false;
    }
    if (is_asking) {
        handle_line(control, client);
    }
    if (!client->out && client->tail >= 0) {
        client->has_turn = false;
    }
    if (!client->out && client->tail >= 0 && has_lines) {
        size_t size;
        char *text = weir_control_tails_take(&control->tails, client->tail, &size);
        if (text) {
            send_text(control, client, text, size);
        }
    }
    if (client->out && !give_bytes(control, client)) {
        return false;
    }
    return client->out || !client->is_last;
}

void weir_control_refuse(int fd, weir_status status, const char *why) {
    char line[256];
    int size = snprintf(line, sizeof line, "{\"error\":\"%s\",\"status\":\"%s\"}\n", why,
                        weir_status_name(status));
    ssize_t sent = send(fd, line, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; // whoever does not take it is not served either
}
