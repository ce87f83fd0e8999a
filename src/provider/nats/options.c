// SPDX-License-Identifier: Apache-2.0
//
// See options.h.
#include "provider/nats/options.h"

#include "base/clock.h"
#include "base/digits.h"
#include "base/show.h"
#include "config/secret.h"
#include "provider/nats/wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {"auto", "kv", "stream", "subject", NULL};

#define ROW(member) .offset = offsetof(struct weir_nats_options, member)

const struct weir_option weir_nats_option_rows[WEIR_NATS_OPTIONS] = {
    {
        .name = "server",
        .type = WEIR_OPTION_TEXT,
        ROW(server),
        .is_required = true,
        .min = 1,
        .max = 4096,
        .help = "HOST:PORT, or several with commas; a bucket may stand behind: HOST:PORT/BUCKET",
    },
    {
        .name = "mode",
        .type = WEIR_OPTION_CHOICE,
        ROW(mode),
        .fallback = "auto",
        .choices = modes,
        .help = "what is watched; auto is kv with `bucket`, stream with `stream`",
    },
    {
        .name = "bucket",
        .type = WEIR_OPTION_TEXT,
        ROW(bucket),
        .min = 1,
        .max = 64,
        .help = "a key-value bucket of JetStream (kv)",
    },
    {
        .name = "stream",
        .type = WEIR_OPTION_TEXT,
        ROW(stream),
        .min = 1,
        .max = 64,
        .help = "a stream of JetStream (stream)",
    },
    {
        .name = "prefix",
        .type = WEIR_OPTION_TEXT,
        ROW(prefix),
        .min = 1,
        .max = 256,
        .help = "what stands before a key in its subject, as \"shop.\" (stream, subject)",
    },
    {
        .name = "user",
        .type = WEIR_OPTION_TEXT,
        ROW(user),
        .min = 1,
        .max = 256,
        .help = "as whom to connect",
    },
    {
        .name = "password",
        .type = WEIR_OPTION_SECRET,
        ROW(password),
        .help = "the user's password",
    },
    {
        .name = "token",
        .type = WEIR_OPTION_SECRET,
        ROW(token),
        .help = "a token, where the server wants one",
    },
    {
        .name = "nkey",
        .type = WEIR_OPTION_SECRET,
        ROW(nkey),
        .help = "the seed of a user's nkey",
    },
    {
        .name = "credentials",
        .type = WEIR_OPTION_PATH,
        ROW(credentials),
        .help = "a file of credentials (.creds) with a user's JWT and seed",
    },
    {
        .name = "tls",
        .type = WEIR_OPTION_BOOL,
        ROW(tls),
        .fallback = "false",
        .help = "connect by TLS only; without it too TLS is used where the server wants it",
    },
    {
        .name = "tls_ca",
        .type = WEIR_OPTION_PATH,
        ROW(tls_ca),
        .help = "certificates that the server's must come from; without it the system's",
    },
    {
        .name = "tls_certificate",
        .type = WEIR_OPTION_PATH,
        ROW(tls_certificate),
        .help = "a certificate to show to the server",
    },
    {
        .name = "tls_key",
        .type = WEIR_OPTION_PATH,
        ROW(tls_key),
        .help = "the key of tls_certificate",
    },
    {
        .name = "create",
        .type = WEIR_OPTION_BOOL,
        ROW(create),
        .fallback = "false",
        .help = "make the bucket or the stream if it is missing",
    },
    {
        .name = "history",
        .type = WEIR_OPTION_COUNT,
        ROW(history),
        .fallback = "1",
        .min = 1,
        .max = 64,
        .help = "values of a key that a bucket keeps; of one that `create` makes",
    },
    {
        .name = "replicas",
        .type = WEIR_OPTION_COUNT,
        ROW(replicas),
        .fallback = "1",
        .min = 1,
        .max = 5,
        .help = "servers of a cluster that keep it; of one that `create` makes",
    },
    {
        .name = "max_bytes",
        .type = WEIR_OPTION_SIZE,
        ROW(max_bytes),
        .fallback = "0",
        .min = 0,
        .max = INT64_C(1) << 50,
        .help = "what it may take on disk; of one that `create` makes; 0 is no bound",
    },
    {
        .name = "domain",
        .type = WEIR_OPTION_TEXT,
        ROW(domain),
        .min = 1,
        .max = 64,
        .help = "the domain of JetStream, where it is not the server's own",
    },
    {
        .name = "inbox",
        .type = WEIR_OPTION_TEXT,
        ROW(inbox),
        .fallback = "_INBOX",
        .min = 1,
        .max = 128,
        .help = "the subject below which answers come; for users who may not use _INBOX",
    },
    {
        .name = "ack_wait",
        .type = WEIR_OPTION_DURATION,
        ROW(ack_wait_ns),
        .fallback = "30s",
        .min = WEIR_NS_PER_S,
        .max = 3600 * WEIR_NS_PER_S,
        .help = "how soon another weir is told what this one holds, if this one dies",
    },
    {
        .name = "max_ack_pending",
        .type = WEIR_OPTION_COUNT,
        ROW(max_ack_pending),
        .fallback = "1000",
        .min = 1,
        .max = 100000,
        .help = "messages of a watch that are told and not durable yet",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        ROW(timeout_ns),
        .fallback = "5s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "for a connection to be made, and for each answer",
    },
    {
        .name = "connections",
        .type = WEIR_OPTION_COUNT,
        ROW(connections),
        .fallback = "8",
        .min = 1,
        .max = 256,
        .help = "connections for reading and writing, beside the one of all watches",
    },
    {
        .name = "keys_max",
        .type = WEIR_OPTION_COUNT,
        ROW(keys_max),
        .fallback = "1000000",
        .min = 1,
        .max = 100000000,
        .help = "keys that one listing may find",
    },
};

const struct weir_option_table weir_nats_option_table = {
    .rows = weir_nats_option_rows,
    .count = WEIR_NATS_OPTIONS,
};

// ---- servers ----

static bool take_scheme(struct weir_str *text, const char *scheme) {
    struct weir_str prefix = weir_str_of(scheme);
    if (!weir_str_has_prefix(*text, prefix)) {
        return false;
    }
    *text = (struct weir_str){text->data + prefix.size, text->size - prefix.size};
    return true;
}

static struct weir_str trim(struct weir_str text) {
    while (text.size > 0 && text.data[0] == ' ') {
        text = (struct weir_str){text.data + 1, text.size - 1};
    }
    while (text.size > 0 && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '/')) {
        text.size--;
    }
    return text;
}

static bool put(char *buffer, size_t size, struct weir_str text) {
    if (text.size == 0 || text.size >= size) {
        return false;
    }
    memcpy(buffer, text.data, text.size);
    buffer[text.size] = '\0';
    return true;
}

// Splits "HOST:PORT", "HOST" or "[ADDRESS]:PORT".
static bool split(struct weir_str text, struct weir_nats_server *ret_server) {
    struct weir_str host = text, port = WEIR_STR("4222");
    const char *bracket =
        text.size > 0 && text.data[0] == '[' ? memchr(text.data, ']', text.size) : NULL;
    const char *end = text.data + text.size;
    const char *colon = bracket ? bracket + 1 : memchr(text.data, ':', text.size);
    if (bracket) {
        host = (struct weir_str){text.data + 1, (size_t)(bracket - text.data) - 1};
    } else if (colon) {
        host.size = (size_t)(colon - text.data);
    }
    if (colon && colon < end) {
        if (*colon != ':') {
            return false;
        }
        port = (struct weir_str){colon + 1, (size_t)(end - colon) - 1};
    }
    uint64_t number;
    return put(ret_server->host, sizeof ret_server->host, host) &&
           put(ret_server->port, sizeof ret_server->port, port) &&
           weir_decimal_read(port, &number) && number > 0 && number <= UINT16_MAX &&
           !memchr(host.data, ' ', host.size) && !memchr(host.data, '/', host.size);
}

static weir_status parse_server(struct weir_str text, struct weir_nats_servers *servers,
                                struct weir_error *err) {
    if (memchr(text.data, '@', text.size)) { // its text may be a secret
        return weir_fail(err, WEIR_INVALID,
                         "who connects does not stand in the server's address; there are the "
                         "options user and password, token, nkey and credentials");
    }
    char shown[WEIR_SHOW_BYTES];
    struct weir_str whole = text;
    servers->wants_tls |= take_scheme(&text, "tls://");
    if (!take_scheme(&text, "nats://")) {
        take_scheme(&text, "//"); // of nats://HOST on a command line, where nats: names the kind
    }
    if (servers->count == WEIR_NATS_SERVERS_MAX) {
        return weir_fail(err, WEIR_INVALID, "more than %d servers", WEIR_NATS_SERVERS_MAX);
    }
    if (!split(text, &servers->items[servers->count])) {
        return weir_fail(err, WEIR_INVALID,
                         "the server \"%s\" is not written HOST:PORT, as nats://127.0.0.1:4222",
                         weir_show(whole, shown, sizeof shown));
    }
    servers->count++;
    return WEIR_OK;
}

weir_status weir_nats_servers_parse(struct weir_str text, struct weir_nats_servers *ret_servers,
                                    struct weir_error *err) {
    *ret_servers = (struct weir_nats_servers){0};
    for (;;) {
        const char *comma = text.size > 0 ? memchr(text.data, ',', text.size) : NULL;
        struct weir_str one = {text.data, comma ? (size_t)(comma - text.data) : text.size};
        weir_status status = parse_server(trim(one), ret_servers, err);
        if (status != WEIR_OK || !comma) {
            return status;
        }
        text = (struct weir_str){comma + 1, text.size - one.size - 1};
    }
}

// ---- what goes together ----

static bool is_name(const char *text) {
    return text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")] ==
           '\0';
}

// Whether the text may stand in a subject, as tokens.
static bool is_subject(const char *text) {
    for (const char *at = text; *at; at++) {
        if (*at <= ' ' || *at == 0x7F || *at == '*' || *at == '>' ||
            (*at == '.' && (at == text || at[1] == '.'))) {
            return false;
        }
    }
    return true;
}

// Where a server's address ends in "/NAME", that is a bucket: so one fits on a command line.
static weir_status take_bucket(struct weir_nats_options *options, struct weir_error *err) {
    char *slash = options->server ? strrchr(options->server, '/') : NULL;
    if (!slash || slash == options->server || slash[-1] == '/' || slash[1] == '\0') {
        return WEIR_OK;
    }
    if (options->bucket || options->stream) {
        return weir_fail(err, WEIR_INVALID,
                         "the server's address ends in a bucket, \"%s\", and a %s is given too",
                         slash + 1, options->bucket ? "bucket" : "stream");
    }
    options->bucket = strdup(slash + 1);
    if (!options->bucket) {
        return weir_fail_no_memory(err, "a resource");
    }
    *slash = '\0';
    return WEIR_OK;
}

static weir_status check_mode(struct weir_nats_options *options, struct weir_error *err) {
    if (options->bucket && options->stream) {
        return weir_fail(err, WEIR_INVALID,
                         "bucket and stream are both given; a resource is one of them");
    }
    if (options->mode == WEIR_NATS_AUTO) {
        options->mode = options->bucket   ? WEIR_NATS_KV
                        : options->stream ? WEIR_NATS_STREAM
                                          : WEIR_NATS_AUTO;
    }
    switch (options->mode) {
    case WEIR_NATS_KV:
        return options->bucket
                   ? WEIR_OK
                   : weir_fail(err, WEIR_INVALID, "mode kv wants a bucket: bucket: NAME");
    case WEIR_NATS_STREAM:
        return options->stream
                   ? WEIR_OK
                   : weir_fail(err, WEIR_INVALID, "mode stream wants a stream: stream: NAME");
    case WEIR_NATS_SUBJECT:
        return options->bucket || options->stream || options->create
                   ? weir_fail(err, WEIR_INVALID,
                               "mode subject has no bucket or stream, and makes none")
                   : WEIR_OK;
    default:
        return weir_fail(err, WEIR_INVALID,
                         "what is to be watched? give bucket: NAME, stream: NAME or mode: subject");
    }
}

static weir_status check_names(const struct weir_nats_options *options, struct weir_error *err) {
    const struct {
        const char *what, *name;
    } names[] = {
        {"bucket", options->bucket}, {"stream", options->stream}, {"domain", options->domain}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i].name && !is_name(names[i].name)) {
            return weir_fail(err, WEIR_INVALID,
                             "the %s \"%s\" has other characters than letters, digits, - and _",
                             names[i].what, names[i].name);
        }
    }
    size_t size = strlen(options->inbox);
    if (!is_subject(options->inbox) || options->inbox[size - 1] == '.') {
        return weir_fail(err, WEIR_INVALID, "inbox is no subject, as _INBOX_weir");
    }
    if (options->prefix &&
        (options->mode == WEIR_NATS_KV || !is_subject(options->prefix) ||
         options->prefix[strlen(options->prefix) - 1] != '.' || options->prefix[0] == '$')) {
        return weir_fail(err, WEIR_INVALID,
                         "prefix is the beginning of subjects and ends in a dot, as \"shop.\"; a "
                         "bucket has none");
    }
    if (options->mode == WEIR_NATS_STREAM && options->create && !options->prefix) {
        return weir_fail(err, WEIR_INVALID,
                         "to create a stream, its subjects must be known: prefix: \"shop.\" makes "
                         "one of shop.>");
    }
    return WEIR_OK;
}

static weir_status check_user(const struct weir_nats_options *options, struct weir_error *err) {
    int ways = (options->user != NULL) + (options->token != NULL) + (options->nkey != NULL) +
               (options->credentials != NULL);
    if (ways > 1) {
        return weir_fail(err, WEIR_INVALID,
                         "user, token, nkey and credentials are different ways to connect; give "
                         "one of them");
    }
    if ((options->user != NULL) != (options->password != NULL)) {
        return weir_fail(err, WEIR_INVALID, "user and password go together");
    }
    if ((options->tls_certificate != NULL) != (options->tls_key != NULL)) {
        return weir_fail(err, WEIR_INVALID, "tls_certificate and tls_key go together");
    }
    return WEIR_OK;
}

weir_status weir_nats_options_check(struct weir_nats_options *options, struct weir_error *err) {
    struct weir_nats_servers servers;
    weir_status status = take_bucket(options, err);
    if (status == WEIR_OK) {
        status = weir_nats_servers_parse(weir_str_of(options->server), &servers, err);
    }
    status = status == WEIR_OK ? check_mode(options, err) : status;
    status = status == WEIR_OK ? check_names(options, err) : status;
    status = status == WEIR_OK ? check_user(options, err) : status;
    if (status == WEIR_OK) {
        options->tls |= servers.wants_tls || options->tls_ca || options->tls_certificate;
    }
    return status;
}

weir_status weir_nats_options_copy(const struct weir_nats_options *options,
                                   struct weir_nats_options *ret_copy, struct weir_error *err) {
    *ret_copy = *options;
    bool is_complete = true;
    for (size_t i = 0; i < WEIR_NATS_OPTIONS; i++) {
        const struct weir_option *row = &weir_nats_option_rows[i];
        enum weir_option_type type = row->type;
        if (type == WEIR_OPTION_TEXT || type == WEIR_OPTION_PATH || type == WEIR_OPTION_SECRET) {
            char **text = (char **)((char *)ret_copy + row->offset);
            bool was_given = *text != NULL;
            *text = was_given ? strdup(*text) : NULL;
            is_complete = is_complete && (*text || !was_given);
        }
    }
    if (!is_complete) {
        weir_options_finish(&weir_nats_option_table, ret_copy);
        return weir_fail_no_memory(err, "a resource");
    }
    return WEIR_OK;
}
