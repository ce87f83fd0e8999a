// SPDX-License-Identifier: Apache-2.0
//
// The handles, and a request from its beginning to its end. A handle is a transfer of curl's and
// the connections that it keeps: one thread uses it at a time, and between requests it lies in the
// client's pool. There are as many in use as threads that send. One whose request failed is not
// used again: its connections may be what failed.
//
// A request is driven in slices (curl_multi_poll), because nothing else ends a transfer early
// within a bound: curl's own callbacks come once a second while it waits.
#include "http/http_private.h"

#include "base/clock.h"
#include "base/show.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

struct handle {
    CURLM *multi; // its connections, its look-ups, its certificates
    CURL *easy;
    struct weir_http_host host; // the last one that it sent to
    int64_t idle_since_ns;
};

struct weir_http_client {
    char *ca_file;                           // NULL: the system's
    pthread_mutex_t lock;                    // guards all below; held for a few moves
    struct handle *idle[WEIR_HTTP_IDLE_MAX]; // the longest idle first
    size_t idle_count;
    // When look-ups were left behind: a ring, the oldest at left_next; 0: none yet.
    int64_t lookups_left_ns[WEIR_HTTP_LOOKUPS_LEFT_MAX];
    size_t lookups_left_next;
};

// ---- handles ----

static void handle_destroy(struct handle *handle) {
    if (handle) {
        curl_easy_cleanup(handle->easy);
        curl_multi_cleanup(handle->multi);
        free(handle);
    }
}

static struct handle *handle_create(void) {
    struct handle *handle = calloc(1, sizeof *handle);
    if (!handle) {
        return NULL;
    }
    handle->easy = curl_easy_init();
    handle->multi = curl_multi_init();
    if (!handle->easy || !handle->multi ||
        curl_multi_setopt(handle->multi, CURLMOPT_MAXCONNECTS, (long)WEIR_HTTP_CONNECTIONS_MAX)) {
        handle_destroy(handle);
        return NULL;
    }
    return handle;
}

static void remove_idle(struct weir_http_client *client, size_t index) {
    client->idle_count--;
    memmove(&client->idle[index], &client->idle[index + 1],
            (client->idle_count - index) * sizeof client->idle[0]);
}

// The idle handle that spoke to that host last, else the one that was used last. There is one.
static size_t find_idle(const struct weir_http_client *client, const struct weir_http_host *host) {
    for (size_t i = client->idle_count; i > 0; i--) {
        const struct weir_http_host *other = &client->idle[i - 1]->host;
        if (other->port == host->port && strcmp(other->name, host->name) == 0) {
            return i - 1;
        }
    }
    return client->idle_count - 1;
}

// An idle handle, or a new one. NULL: no memory.
static struct handle *take_handle(struct weir_http_client *client,
                                  const struct weir_http_host *host) {
    struct handle *handle = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->idle_count > 0) {
        size_t index = find_idle(client, host);
        handle = client->idle[index];
        remove_idle(client, index);
    }
    pthread_mutex_unlock(&client->lock);
    handle = handle ? handle : handle_create();
    if (handle) {
        handle->host = *host;
    }
    return handle;
}

// Puts the handle back. The one that is idle for longest goes where there is no room, or where it
// has been for long enough.
static void give_handle(struct weir_http_client *client, struct handle *handle) {
    struct handle *oldest = NULL;
    int64_t now_ns = weir_clock_monotonic_ns();
    handle->idle_since_ns = now_ns;
    pthread_mutex_lock(&client->lock);
    if (client->idle_count == WEIR_HTTP_IDLE_MAX ||
        (client->idle_count > 0 &&
         now_ns - client->idle[0]->idle_since_ns > WEIR_HTTP_IDLE_S * WEIR_NS_PER_S)) {
        oldest = client->idle[0];
        remove_idle(client, 0);
    }
    client->idle[client->idle_count++] = handle;
    pthread_mutex_unlock(&client->lock);
    handle_destroy(oldest);
}

weir_status weir_http_client_create(const char *ca_file, struct weir_http_client **ret_client,
                                    struct weir_error *err) {
    *ret_client = NULL;
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code) {
        return weir_fail(err, WEIR_OTHER, "curl cannot be used: %s", curl_easy_strerror(code));
    }
    struct weir_http_client *client = calloc(1, sizeof *client);
    char *copy = client && ca_file ? strdup(ca_file) : NULL;
    if (!client || (ca_file && !copy)) {
        free(client);
        curl_global_cleanup();
        return weir_fail_no_memory(err, "an HTTP client");
    }
    client->ca_file = copy;
    pthread_mutex_init(&client->lock, NULL);
    *ret_client = client;
    return WEIR_OK;
}

void weir_http_client_destroy(struct weir_http_client *client) {
    if (!client) {
        return;
    }
    for (size_t i = 0; i < client->idle_count; i++) {
        handle_destroy(client->idle[i]);
    }
    pthread_mutex_destroy(&client->lock);
    free(client->ca_file);
    free(client);
    curl_global_cleanup();
}

// ---- look-ups that are left behind ----

static bool is_address(const struct weir_http_host *host) {
    return strchr(host->name, ':') || weir_http_name_is_ipv4(host->name);
}

static bool may_look_up(struct weir_http_client *client, int64_t now_ns) {
    pthread_mutex_lock(&client->lock);
    int64_t oldest_ns = client->lookups_left_ns[client->lookups_left_next];
    pthread_mutex_unlock(&client->lock);
    return oldest_ns == 0 || now_ns - oldest_ns > WEIR_HTTP_LOOKUP_S * WEIR_NS_PER_S;
}

static void note_lookup_left(struct weir_http_client *client) {
    int64_t now_ns = weir_clock_monotonic_ns();
    pthread_mutex_lock(&client->lock);
    client->lookups_left_ns[client->lookups_left_next] = now_ns;
    client->lookups_left_next = (client->lookups_left_next + 1) % WEIR_HTTP_LOOKUPS_LEFT_MAX;
    pthread_mutex_unlock(&client->lock);
}

// ---- one request ----

enum end {
    END_DONE, // `result` tells how
    END_TIMEOUT,
    END_CUT,
    END_BROKEN, // `multi_result` tells why
};

// One request on its way.
struct exchange {
    const struct weir_http_request *request;
    struct handle *handle;
    struct weir_http_host host;
    char host_text[WEIR_HTTP_HOST_TEXT_BYTES];
    CURLU *url;
    struct weir_http_sending sending;
    struct weir_http_receiver receiver;
    char reason[CURL_ERROR_SIZE]; // of a failure, by curl
    int64_t started_ns;
    enum end end;
    CURLcode result;
    CURLMcode multi_result;
};

// As curl's own, but not for the programs that weir starts.
static curl_socket_t open_socket(void *context, curlsocktype purpose,
                                 struct curl_sockaddr *address) {
    (void)context;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, (option), (value)))

// What holds for every request.
static CURLcode set_policy(CURL *easy, const char *ca_file) {
    CURLcode code = CURLE_OK;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    // Neither from the environment.
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOPROXY, "*");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    // A look-up that is under way is left behind, not waited for.
    SET(CURLOPT_QUICK_EXIT, 1L);
    if (ca_file) {
        SET(CURLOPT_CAINFO, ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    return code;
}

#undef SET

static weir_status set_up(struct exchange *exchange, const char *ca_file, struct weir_error *err) {
    CURL *easy = exchange->handle->easy;
    curl_easy_reset(easy);
    CURLcode code = set_policy(easy, ca_file);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_CURLU, exchange->url);
    code = code ? code : curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, exchange->reason);
    code = code ? code
                : weir_http_receiver_init(&exchange->receiver, easy,
                                          exchange->request->response_bytes_max);
    if (code) {
        return code == CURLE_OUT_OF_MEMORY
                   ? weir_fail_no_memory(err, "a request")
                   : weir_fail(err, WEIR_OTHER, "this curl lacks something that weir needs: %s",
                               curl_easy_strerror(code));
    }
    return weir_http_sending_init(&exchange->sending, easy, exchange->request, err);
}

static bool is_cut(const struct weir_http_request *request) {
    return request->is_cut && request->is_cut(request->cut_context);
}

// For how long to wait, in milliseconds.
static int slice_ms(int64_t now_ns, int64_t until_ns) {
    int64_t left_ns = until_ns - now_ns;
    return left_ns < WEIR_HTTP_SLICE_MS * WEIR_NS_PER_MS
               ? (int)((left_ns + WEIR_NS_PER_MS - 1) / WEIR_NS_PER_MS)
               : WEIR_HTTP_SLICE_MS;
}

// Runs the transfer until it is done, its time is over, or it is cut.
static void drive(struct exchange *exchange) {
    CURLM *multi = exchange->handle->multi;
    for (;;) {
        int running = 0, left;
        exchange->multi_result = curl_multi_perform(multi, &running);
        if (exchange->multi_result) {
            exchange->end = END_BROKEN;
            return;
        }
        if (running == 0) {
            const CURLMsg *message = curl_multi_info_read(multi, &left);
            exchange->end = END_DONE;
            exchange->result = message ? message->data.result : CURLE_FAILED_INIT;
            return;
        }
        if (is_cut(exchange->request)) {
            exchange->end = END_CUT;
            return;
        }
        int64_t now_ns = weir_clock_monotonic_ns();
        if (now_ns >= exchange->request->until_ns) {
            exchange->end = END_TIMEOUT;
            return;
        }
        exchange->multi_result =
            curl_multi_poll(multi, NULL, 0, slice_ms(now_ns, exchange->request->until_ns), NULL);
        if (exchange->multi_result) {
            exchange->end = END_BROKEN;
            return;
        }
    }
}

enum stage { LOOKING_UP, CONNECTING, AGREEING, WAITING, READING };
static const char *const stage_names[] = {
    [LOOKING_UP] = "looking up its name", [CONNECTING] = "connecting",
    [AGREEING] = "agreeing on TLS",       [WAITING] = "waiting for its response",
    [READING] = "reading its response",
};

static bool has_passed(CURL *easy, CURLINFO time) {
    curl_off_t time_us = 0;
    curl_easy_getinfo(easy, time, &time_us);
    return time_us > 0;
}

// How far the transfer came. Each of curl's times is 0 until its step is done; a connection that is
// used again does not tell those of its making. The first byte is no sign of a response: HTTP/2
// sends others before.
static enum stage stage_of(CURL *easy) {
    static const CURLINFO times[] = {
        [CONNECTING] = CURLINFO_NAMELOOKUP_TIME_T,
        [AGREEING] = CURLINFO_CONNECT_TIME_T,
        [WAITING] = CURLINFO_PRETRANSFER_TIME_T,
    };
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    if (code > 0) {
        return READING;
    }
    for (enum stage stage = WAITING; stage > LOOKING_UP; stage--) {
        if (has_passed(easy, times[stage])) {
            return stage;
        }
    }
    return LOOKING_UP;
}

static weir_status fail_timeout(const char *host, const char *stage, int64_t started_ns,
                                struct weir_error *err) {
    return weir_fail(err, WEIR_UNAVAILABLE, "%s did not answer in time: %s after %lld ms", host,
                     stage, (long long)((weir_clock_monotonic_ns() - started_ns) / WEIR_NS_PER_MS));
}

static weir_status status_of_result(CURLcode code) {
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return WEIR_NO_MEMORY;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CIPHER:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
    // What came was no HTTP: version 0.9, a version that there is not, a chunk without a length.
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_BAD_CONTENT_ENCODING:
        return WEIR_UNAVAILABLE;
    default:
        return WEIR_OTHER;
    }
}

// curl keeps a line of a header until its end has come, up to a bound of its own (100 KiB). Where
// that is reached, it says CURLE_TOO_LARGE from 8.6 on, and before that that it has no memory.
enum { TOO_LARGE = 100 };

static bool is_endless_line(const struct exchange *exchange) {
    bool is_in_head = !exchange->receiver.is_head_done &&
                      has_passed(exchange->handle->easy, CURLINFO_STARTTRANSFER_TIME_T);
    return is_in_head &&
           (exchange->result == CURLE_OUT_OF_MEMORY || (int)exchange->result == TOO_LARGE);
}

static weir_status fail_result(struct exchange *exchange, struct weir_error *err) {
    if (!exchange->receiver.trouble && is_endless_line(exchange)) {
        exchange->receiver.trouble = WEIR_HTTP_TROUBLE_HEADER_BYTES;
    }
    if (exchange->receiver.trouble) {
        return weir_http_receiver_fail(&exchange->receiver, exchange->host_text, err);
    }
    const char *reason =
        exchange->reason[0] ? exchange->reason : curl_easy_strerror(exchange->result);
    char shown[CURL_ERROR_SIZE];
    return weir_fail(err, status_of_result(exchange->result), "no response from %s: %s",
                     exchange->host_text, weir_show(weir_str_of(reason), shown, sizeof shown));
}

static weir_status conclude(struct exchange *exchange, struct weir_http_response *ret_response,
                            struct weir_error *err) {
    switch (exchange->end) {
    case END_CUT:
        return weir_fail(err, WEIR_STOPPED, "the request to %s was cut", exchange->host_text);
    case END_TIMEOUT:
        ret_response->is_timeout = true;
        return fail_timeout(exchange->host_text, stage_names[stage_of(exchange->handle->easy)],
                            exchange->started_ns, err);
    case END_BROKEN:
        return weir_fail(
            err, exchange->multi_result == CURLM_OUT_OF_MEMORY ? WEIR_NO_MEMORY : WEIR_OTHER,
            "no response from %s: %s", exchange->host_text,
            curl_multi_strerror(exchange->multi_result));
    case END_DONE:
        break;
    }
    if (exchange->result) {
        // curl's own bound for connecting, where until_ns is far away.
        ret_response->is_timeout = exchange->result == CURLE_OPERATION_TIMEDOUT;
        return fail_result(exchange, err);
    }
    return weir_http_receiver_take(&exchange->receiver, exchange->host_text, ret_response, err);
}

// Sends with a handle that is set up.
static weir_status transfer(struct weir_http_client *client, struct exchange *exchange,
                            struct weir_http_response *ret_response, struct weir_error *err) {
    struct handle *handle = exchange->handle;
    exchange->multi_result = curl_multi_add_handle(handle->multi, handle->easy);
    exchange->end = END_BROKEN;
    if (exchange->multi_result == CURLM_OK) {
        drive(exchange);
    }
    weir_status status = conclude(exchange, ret_response, err);
    if ((exchange->end == END_CUT || exchange->end == END_TIMEOUT) &&
        !is_address(&exchange->host) && stage_of(handle->easy) == LOOKING_UP) {
        note_lookup_left(client);
    }
    curl_multi_remove_handle(handle->multi, handle->easy);
    return status;
}

// A request that is known to be well-formed, and where it goes.
static weir_status exchange_run(struct weir_http_client *client, struct exchange *exchange,
                                struct weir_http_response *ret_response, struct weir_error *err) {
    exchange->handle = take_handle(client, &exchange->host);
    if (!exchange->handle) {
        return weir_fail_no_memory(err, "a request");
    }
    weir_status status = set_up(exchange, client->ca_file, err);
    if (!status) {
        status = transfer(client, exchange, ret_response, err);
    }
    if (status) {
        handle_destroy(exchange->handle);
    } else {
        // What it points to ends before it is used again.
        curl_easy_reset(exchange->handle->easy);
        give_handle(client, exchange->handle);
    }
    weir_http_sending_finish(&exchange->sending);
    weir_http_receiver_finish(&exchange->receiver);
    return status;
}

static weir_status check_may_begin(struct weir_http_client *client, const struct exchange *exchange,
                                   struct weir_http_response *ret_response,
                                   struct weir_error *err) {
    if (is_cut(exchange->request)) {
        return weir_fail(err, WEIR_STOPPED, "the request to %s was cut", exchange->host_text);
    }
    if (exchange->started_ns >= exchange->request->until_ns) {
        ret_response->is_timeout = true;
        return fail_timeout(exchange->host_text, "its time was over", exchange->started_ns, err);
    }
    if (!is_address(&exchange->host) && !may_look_up(client, exchange->started_ns)) {
        return weir_fail(err, WEIR_UNAVAILABLE,
                         "no response from %s: the system's resolver has left %d names without an "
                         "answer in the last %d s",
                         exchange->host_text, WEIR_HTTP_LOOKUPS_LEFT_MAX, WEIR_HTTP_LOOKUP_S);
    }
    return WEIR_OK;
}

weir_status weir_http_send(struct weir_http_client *client, const struct weir_http_request *request,
                           struct weir_http_response *ret_response, struct weir_error *err) {
    *ret_response = (struct weir_http_response){0};
    weir_status status = weir_http_request_check(request, err);
    if (status) {
        return status;
    }
    struct exchange *exchange = calloc(1, sizeof *exchange); // some KiB
    if (!exchange) {
        return weir_fail_no_memory(err, "a request");
    }
    exchange->request = request;
    exchange->started_ns = weir_clock_monotonic_ns();
    status = weir_http_url_parse(request->url, &exchange->url, &exchange->host, err);
    if (!status) {
        weir_http_host_text(&exchange->host, exchange->host_text);
        status = check_may_begin(client, exchange, ret_response, err);
    }
    if (!status) {
        status = exchange_run(client, exchange, ret_response, err);
    }
    curl_url_cleanup(exchange->url);
    free(exchange);
    return status;
}
