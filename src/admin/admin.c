// SPDX-License-Identifier: Apache-2.0
//
// The admin thread: libmicrohttpd speaks HTTP, this thread runs it and looks after what it does not
// do: how long a request may take in all, since its own time begins anew with each byte.
//
// libmicrohttpd is driven from outside instead of having threads of its own, so that everything of
// this room is of one thread. A look at the whole flow for one request takes some milliseconds with
// a thousand subscriptions; the others wait for it.
#include "admin/server.h"

#include "base/clock.h"
#include "base/thread.h"
#include "config/endpoint.h"
#include "flow/flow.h"
#include "observe/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

enum {
    BACKLOG = 128,
    ANSWER_MS = 30 * 1000, // for an answer to be taken
};

// ---- routes ----

struct route {
    const char *method, *path; // a path with a "/" at its end: everything below it
    weir_admin_handler *handler;
    bool is_for_all; // without a token from wherever
    bool is_change;
};

static const struct route routes[] = {
    {"GET", "/metrics", weir_admin_metrics, .is_for_all = false},
    {"GET", "/healthz", weir_admin_healthz, .is_for_all = true},
    {"GET", "/readyz", weir_admin_readyz, .is_for_all = true},
    {"GET", "/api/status", weir_admin_status, .is_for_all = false},
    {"GET", "/api/history", weir_admin_history_of, .is_for_all = false},
    {"GET", "/api/histograms", weir_admin_histograms, .is_for_all = false},
    {"GET", "/api/tail", weir_admin_tail, .is_for_all = false},
    {"GET", "/api/story", weir_admin_story, .is_for_all = false},
    {"GET", "/api/dead-letters", weir_admin_letters, .is_for_all = false},
    {"GET", "/api/dead-letters/", weir_admin_letters, .is_for_all = false},
    {"POST", "/api/dead-letters/", weir_admin_letter_change, .is_change = true},
    {"GET", "/", weir_admin_file, .is_for_all = true},
};

static bool is_method(const struct route *route, const char *method) {
    bool is_head = strcmp(method, "HEAD") == 0 && strcmp(route->method, "GET") == 0;
    return is_head || strcmp(route->method, method) == 0;
}

static bool is_path(const struct route *route, const char *path) {
    size_t size = strlen(route->path);
    return route->path[size - 1] == '/' ? strncmp(route->path, path, size) == 0
                                        : strcmp(route->path, path) == 0;
}

// NULL: there is none, and *ret_has_path tells whether for want of the method.
static const struct route *find_route(const char *method, const char *path, bool *ret_has_path) {
    *ret_has_path = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (is_path(&routes[i], path)) {
            *ret_has_path = true;
            if (is_method(&routes[i], method)) {
                return &routes[i];
            }
        }
    }
    return NULL;
}

// ---- requests ----

static void refuse(struct weir_admin_answer *answer, unsigned http_status, weir_status status,
                   const char *why) {
    struct weir_error err;
    weir_fail(&err, status, "%s", why);
    weir_admin_fail(answer, &err);
    answer->status = http_status;
}

static void answer_request(struct weir_admin *admin, struct weir_admin_request *request,
                           const char *method, struct weir_admin_answer *answer) {
    bool has_path;
    const struct route *route = find_route(method, request->path, &has_path);
    if (!route) {
        refuse(answer, has_path ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND, WEIR_NOT_FOUND,
               has_path ? "this is not done here by that method" : "there is nothing here");
    } else if (admin->answer_bytes > WEIR_ADMIN_ANSWER_BYTES_MAX) {
        refuse(answer, MHD_HTTP_SERVICE_UNAVAILABLE, WEIR_AGAIN,
               "others have not taken their answers yet: ask again");
    } else if (weir_admin_let_in(admin, request, route->is_for_all, route->is_change, answer)) {
        size_t size = strlen(route->path);
        route->handler(admin, request, request->path + size, answer);
    }
}

static struct weir_admin_connection *connection_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static bool has_body(struct MHD_Connection *connection) {
    const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding");
}

static enum MHD_Result send_answer(struct weir_admin *admin, struct MHD_Connection *connection,
                                   struct weir_admin_answer *answer) {
    struct weir_admin_connection *own = connection_of(connection);
    bool is_stream = answer->stream != NULL;
    size_t bytes = 0;
    enum MHD_Result result = weir_admin_send(connection, answer, &bytes);
    if (own) {
        own->due_ns =
            is_stream ? INT64_MAX : weir_clock_monotonic_ns() + ANSWER_MS * WEIR_NS_PER_MS;
        own->answer_bytes += bytes;
        admin->answer_bytes += bytes;
    }
    return result;
}

// libmicrohttpd calls it once when the head of a request is there, and, of what has no body, once
// more. Nothing that is asked here has a body: it is refused before it is read.
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *body, size_t *body_size, void **request_context) {
    static const char head_is_read[] = "head";
    struct weir_admin *admin = context;
    struct weir_admin_answer answer = {0};
    struct weir_admin_request request = {.connection = connection, .path = path};
    (void)version;
    (void)body;
    (void)body_size;
    if (!*request_context) {
        *request_context = (void *)(uintptr_t)head_is_read;
        if (!has_body(connection)) {
            return MHD_YES;
        }
        refuse(&answer, MHD_HTTP_CONTENT_TOO_LARGE, WEIR_LIMIT, "a request here has no body");
    } else {
        answer_request(admin, &request, method, &answer);
    }
    return send_answer(admin, connection, &answer);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request_context,
                         enum MHD_RequestTerminationCode code) {
    struct weir_admin *admin = context;
    struct weir_admin_connection *own = connection_of(connection);
    (void)request_context;
    (void)code;
    if (own) {
        admin->answer_bytes -= own->answer_bytes;
        own->answer_bytes = 0;
        own->due_ns = weir_clock_monotonic_ns() + WEIR_ADMIN_REQUEST_MS * WEIR_NS_PER_MS;
    }
}

// ---- connections ----

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    struct weir_admin *admin = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct weir_admin_connection *own = *socket_context;
        if (own) {
            admin->answer_bytes -= own->answer_bytes;
            DL_DELETE(admin->connections, own);
            free(own);
        }
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct weir_admin_connection *own = info ? calloc(1, sizeof *own) : NULL;
    *socket_context = own;
    if (own) { // else it has libmicrohttpd's own bounds only
        own->fd = info->connect_fd;
        own->due_ns = weir_clock_monotonic_ns() + WEIR_ADMIN_REQUEST_MS * WEIR_NS_PER_MS;
        DL_APPEND(admin->connections, own);
    }
}

// Ends what has had its time: libmicrohttpd sees the end of the stream.
static void shut_late(struct weir_admin *admin, int64_t now_ns) {
    struct weir_admin_connection *own;
    DL_FOREACH (admin->connections, own) {
        if (now_ns >= own->due_ns) {
            own->due_ns = INT64_MAX;
            shutdown(own->fd, SHUT_RDWR);
        }
    }
}

// ---- the thread ----

static void *serve(void *argument) {
    struct weir_admin *admin = argument;
    int64_t tick_due_ns = 0;
    while (!atomic_load(&admin->is_stopping)) {
        MHD_run_wait(admin->daemon, WEIR_ADMIN_TICK_MS);
        int64_t now_ns = weir_clock_monotonic_ns();
        if (now_ns >= tick_due_ns) {
            tick_due_ns = now_ns + WEIR_ADMIN_TICK_MS * WEIR_NS_PER_MS;
            weir_recent_tick(&admin->recent);
            weir_admin_streams_tick(admin);
            weir_history_tick(&admin->history, admin->flow, now_ns);
            shut_late(admin, now_ns);
        }
    }
    weir_admin_streams_wake(admin);
    return NULL;
}

// ---- making and ending ----

static int socket_of(int family, struct weir_error *err) {
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        weir_fail_errno(err, errno, "cannot make a socket");
    }
    return fd;
}

static weir_status bind_address(struct weir_admin *admin, struct weir_error *err) {
    const char *text = admin->config.address;
    struct weir_endpoint endpoint;
    weir_status status = weir_endpoint_parse(text, &endpoint, err);
    if (status != WEIR_OK) {
        return weir_error_prefix(err, status, "admin: %s", text);
    }
    admin->is_open = endpoint.is_loopback;
    admin->listen_fd = socket_of(endpoint.address.ss_family, err);
    const int one = 1;
    if (admin->listen_fd < 0) {
        return WEIR_OTHER;
    }
    setsockopt(admin->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(admin->listen_fd, (const struct sockaddr *)&endpoint.address, endpoint.size) != 0 ||
        listen(admin->listen_fd, BACKLOG) != 0) {
        return errno == EADDRINUSE
                   ? weir_fail(err, WEIR_UNAVAILABLE,
                               "admin: another program listens at %s already; take another port",
                               text)
                   : weir_fail_errno(err, errno, "admin: cannot listen at %s", text);
    }
    return WEIR_OK;
}

// Whether somebody listens at a socket; else what is there was left by one who is gone.
static bool is_alive(const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool is = fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof *address) == 0 ||
                          errno == EAGAIN);
    if (fd >= 0) {
        close(fd);
    }
    return is;
}

// The mode is set before the name is there: nobody else can connect in between.
static weir_status bind_socket(struct weir_admin *admin, struct weir_error *err) {
    const char *path = admin->config.socket;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;
    admin->is_open = true;
    if (strlen(path) >= sizeof address.sun_path) {
        return weir_fail(err, WEIR_INVALID, "admin: %s is longer than a socket's path may be (%zu)",
                         path, sizeof address.sun_path - 1);
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    if (lstat(path, &info) == 0 && !S_ISSOCK(info.st_mode)) {
        return weir_fail(err, WEIR_INVALID, "admin: %s is there, and is no socket", path);
    }
    if (is_alive(&address)) {
        return weir_fail(err, WEIR_UNAVAILABLE, "admin: another program listens at %s already",
                         path);
    }
    admin->listen_fd = socket_of(AF_UNIX, err);
    if (admin->listen_fd < 0) {
        return WEIR_OTHER;
    }
    if ((unlink(path) != 0 && errno != ENOENT) ||
        fchmod(admin->listen_fd, S_IRUSR | S_IWUSR) != 0 ||
        bind(admin->listen_fd, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(admin->listen_fd, BACKLOG) != 0) {
        return weir_fail_errno(err, errno, "admin: cannot listen at %s", path);
    }
    admin->is_bound = true;
    return WEIR_OK;
}

static bool copy_text(const char *text, char **ret_copy) {
    *ret_copy = text ? strdup(text) : NULL;
    return !text || *ret_copy;
}

weir_status weir_admin_create(const struct weir_admin_args *args, struct weir_admin **ret_admin,
                              struct weir_error *err) {
    *ret_admin = NULL;
    struct weir_admin *admin = calloc(1, sizeof *admin);
    if (!admin) {
        return weir_fail_no_memory(err, "the admin address");
    }
    admin->listen_fd = -1;
    admin->log = args->log;
    admin->tracer = args->tracer;
    atomic_init(&admin->unready, "weir is starting");
    weir_recent_init(&admin->recent);
    bool is_copied = copy_text(args->state_dir, &admin->state_dir);
    is_copied = copy_text(args->config->address, &admin->config.address) && is_copied;
    is_copied = copy_text(args->config->socket, &admin->config.socket) && is_copied;
    is_copied = copy_text(args->config->token, &admin->config.token) && is_copied;
    weir_status status = is_copied ? WEIR_OK : weir_fail_no_memory(err, "the admin address");
    if (status == WEIR_OK) {
        status = admin->config.socket ? bind_socket(admin, err) : bind_address(admin, err);
    }
    if (status != WEIR_OK) {
        weir_admin_destroy(admin);
        return status;
    }
    *ret_admin = admin;
    return WEIR_OK;
}

static weir_status start_thread(struct weir_admin *admin, struct weir_error *err) {
    int code = weir_thread_start(&admin->thread, "weir:admin", serve, admin);
    if (code != 0) {
        return weir_fail_errno(err, code, "cannot start the thread of the admin address");
    }
    admin->is_started = true;
    return WEIR_OK;
}

weir_status weir_admin_start(struct weir_admin *admin, struct weir_flow *flow,
                             struct weir_error *err) {
    admin->flow = flow;
    admin->started_ns = weir_clock_monotonic_ns();
    admin->started_wall_ns = weir_clock_wall_ns();
    admin->daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, admin,
                         MHD_OPTION_LISTEN_SOCKET, admin->listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)WEIR_ADMIN_CONNECTIONS_MAX, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)WEIR_ADMIN_CONNECTION_BYTES_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)WEIR_ADMIN_IDLE_S, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
                         admin, MHD_OPTION_NOTIFY_COMPLETED, on_completed, admin, MHD_OPTION_END);
    if (!admin->daemon) {
        return weir_fail(err, WEIR_OTHER, "the admin address cannot be served: %s",
                         errno ? strerror(errno) : "libmicrohttpd does not say why");
    }
    admin->listen_fd = -1; // the daemon's from now on
    weir_status status = start_thread(admin, err);
    if (status == WEIR_OK) {
        const char *where = admin->config.socket ? admin->config.socket : admin->config.address;
        weir_log(admin->log, WEIR_LOG_INFO, "metrics, health and the console are served",
                 {"address", weir_str_of(where)});
    }
    return status;
}

void weir_admin_set_unready(struct weir_admin *admin, const char *reason) {
    if (admin) {
        atomic_store(&admin->unready, reason);
    }
}

void weir_admin_stop(struct weir_admin *admin) {
    if (!admin) {
        return;
    }
    if (admin->is_started) {
        atomic_store(&admin->is_stopping, true);
        pthread_join(admin->thread, NULL);
        admin->is_started = false;
    }
    if (admin->daemon) {
        MHD_stop_daemon(admin->daemon);
        admin->daemon = NULL;
    }
    weir_history_finish(&admin->history);
    admin->flow = NULL;
}

void weir_admin_destroy(struct weir_admin *admin) {
    if (!admin) {
        return;
    }
    weir_admin_stop(admin);
    if (admin->listen_fd >= 0) {
        close(admin->listen_fd);
    }
    if (admin->is_bound) {
        unlink(admin->config.socket);
    }
    weir_recent_finish(&admin->recent);
    free(admin->config.address);
    free(admin->config.socket);
    free(admin->config.token);
    free(admin->state_dir);
    free(admin);
}

void weir_admin_tap(void *context, const struct weir_tap_event *event) {
    struct weir_admin *admin = context;
    if (admin) {
        weir_recent_offer(&admin->recent, event);
    }
}
