// SPDX-License-Identifier: Apache-2.0
//
// See options.h.
#include "provider/postgres/options.h"

#include "base/clock.h"
#include "provider/postgres/resource.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { CONNECTIONS_MAX = 64 };

static const char *const tls_choices[] = {"auto", "verify-full", "require", "off", NULL};
static const char *const snapshot_choices[] = {"after-gap", "always", "never", NULL};

const struct weir_option weir_pg_option_rows[WEIR_PG_OPTIONS] = {
    {
        .name = "address",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, address),
        .is_required = true,
        .min = 1,
        .max = 512,
        .help = "HOST:PORT/DATABASE, or the directory of the server's Unix socket",
    },
    {
        .name = "database",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, database),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the database, where the address does not say it",
    },
    {
        .name = "user",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, user),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "whom to log in as; without it, the user that weir runs as",
    },
    {
        .name = "password",
        .type = WEIR_OPTION_SECRET,
        .offset = offsetof(struct weir_pg_options, password),
        .help = "where the password is",
    },
    {
        .name = "tls",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_pg_options, tls),
        .fallback = "auto",
        .choices = tls_choices,
        .help =
            "auto: verify-full, but to this machine as the server likes it; require: encrypted, "
            "whoever answers",
    },
    {
        .name = "tls_ca",
        .type = WEIR_OPTION_PATH,
        .offset = offsetof(struct weir_pg_options, tls_ca),
        .help = "the certificates that sign the server's; without it, those that the system trusts",
    },
    {
        .name = "kv",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, kv),
        .min = 1,
        .max = WEIR_PG_TABLE_BYTES - 1,
        .help = "this table is a key-value store: columns key and value, both bytea or text",
    },
    {
        .name = "create",
        .type = WEIR_OPTION_BOOL,
        .offset = offsetof(struct weir_pg_options, create),
        .fallback = "true",
        .help = "make the table of kv where it is missing",
    },
    {
        .name = "outbox",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, outbox),
        .min = 1,
        .max = WEIR_PG_TABLE_BYTES - 1,
        .help = "this table is an outbox: its new rows are told, without a right to replicate",
    },
    {
        .name = "id_column",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, id_column),
        .fallback = "id",
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "tells rows of one transaction apart, and orders them (outbox)",
    },
    {
        .name = "xid_column",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, xid_column),
        .fallback = "xid",
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the row's transaction: xid8 DEFAULT pg_current_xact_id() (outbox)",
    },
    {
        .name = "key_column",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, key_column),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the event's key, bytea or text; without it, TABLE/ID (outbox)",
    },
    {
        .name = "payload_column",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, payload_column),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the event's data; without it, the row as JSON (outbox)",
    },
    {
        .name = "attributes_column",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, attributes_column),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "attributes of the CloudEvent, a JSON object, beside payload_column (outbox)",
    },
    {
        .name = "wake",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, wake),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the channel that is notified of new rows; without it, the table's name (outbox)",
    },
    {
        .name = "poll",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, poll_ns),
        .fallback = "1s",
        .min = 10 * WEIR_NS_PER_MS,
        .max = 3600 * WEIR_NS_PER_S,
        .help = "how often new rows are looked for where nobody notifies (outbox)",
    },
    {
        .name = "channels",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, channels),
        .min = 1,
        .max = WEIR_PG_CHANNELS_MAX * WEIR_PG_NAME_BYTES,
        .help = "what to LISTEN to, with commas between; the first is published to",
    },
    {
        .name = "slot",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, slot),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the replication slot; without it, weir_ and the resource's name",
    },
    {
        .name = "publication",
        .type = WEIR_OPTION_TEXT,
        .offset = offsetof(struct weir_pg_options, publication),
        .min = 1,
        .max = WEIR_PG_NAME_BYTES - 1,
        .help = "the publication; without it, one of the slot's name, which weir makes",
    },
    {
        .name = "snapshot",
        .type = WEIR_OPTION_CHOICE,
        .offset = offsetof(struct weir_pg_options, snapshot),
        .fallback = "after-gap",
        .choices = snapshot_choices,
        .help = "when rows are told that are there already; always: also when a watch begins",
    },
    {
        .name = "linger",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, linger_ns),
        .fallback = "5m",
        // Of several that begin one after another, or end so, none is to miss anything.
        .min = 2 * WEIR_NS_PER_S,
        .max = 7 * 24 * 3600 * WEIR_NS_PER_S,
        .help = "how long the server keeps changes for a subscription that weir runs without",
    },
    {
        .name = "heartbeat",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, heartbeat_ns),
        .fallback = "10s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 3600 * WEIR_NS_PER_S,
        .help = "how often a position moves on over what concerns nobody, and silence is tried",
    },
    {
        .name = "timeout",
        .type = WEIR_OPTION_DURATION,
        .offset = offsetof(struct weir_pg_options, timeout_ns),
        .fallback = "5s",
        .min = 100 * WEIR_NS_PER_MS,
        .max = 60 * WEIR_NS_PER_S,
        .help = "the longest that connecting, or a statement, may take",
    },
    {
        .name = "connections",
        .type = WEIR_OPTION_COUNT,
        .offset = offsetof(struct weir_pg_options, connections),
        .fallback = "4",
        .min = 1,
        .max = CONNECTIONS_MAX,
        .help = "connections for reading and writing, beside those of watches",
    },
};

// ---- names ----

static bool is_slot_letter(char letter) {
    return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '_';
}

// "weir_" and the resource's name. Where that is no name of a slot it is made one, with a hash of
// the name behind, so that two names never become one.
static void slot_of_name(const char *name, char to[static WEIR_PG_NAME_BYTES]) {
    char letters[WEIR_NAME_BYTES_MAX + 1];
    bool is_same = strlen(name) + sizeof "weir_" <= WEIR_PG_NAME_BYTES;
    size_t size = 0;
    for (; name[size] && size < WEIR_NAME_BYTES_MAX; size++) {
        char letter = name[size];
        letter = letter >= 'A' && letter <= 'Z' ? (char)(letter + 'a' - 'A') : letter;
        letters[size] = is_slot_letter(letter) ? letter : '_';
        is_same = is_same && letters[size] == name[size];
    }
    letters[size] = '\0';
    if (is_same) {
        snprintf(to, WEIR_PG_NAME_BYTES, "weir_%.58s", letters); // all of it
    } else {
        snprintf(to, WEIR_PG_NAME_BYTES, "weir_%.48s_%08x", letters,
                 (unsigned)XXH3_64bits(name, strlen(name)));
    }
}

static weir_status check_slot(const char *slot, struct weir_error *err) {
    for (const char *letter = slot; *letter; letter++) {
        if (!is_slot_letter(*letter)) {
            return weir_fail(err, WEIR_INVALID,
                             "\"%s\" is no name of a replication slot; it has a-z, 0-9 and _",
                             slot);
        }
    }
    return WEIR_OK;
}

// What must not be in a text that stands in a statement of the replication protocol.
static weir_status check_publication(const char *publication, struct weir_error *err) {
    if (strpbrk(publication, "'\"\\,") || !weir_utf8_valid(weir_str_of(publication))) {
        return weir_fail(err, WEIR_INVALID,
                         "the publication's name has a quote, a backslash or a comma; such a one "
                         "cannot be used here");
    }
    return WEIR_OK;
}

// ---- where to connect to ----

static weir_status read_target(const struct weir_pg_options *options, struct weir_pg_target *target,
                               struct weir_error *err) {
    struct weir_pg_address *address = &target->address;
    weir_status status = weir_pg_address_parse(options->address, address, err);
    if (status != WEIR_OK) {
        return status;
    }
    if (options->database) {
        snprintf(address->database, sizeof address->database, "%s", options->database);
    }
    if (options->user) {
        snprintf(address->user, sizeof address->user, "%s", options->user);
    }
    if (!address->database[0]) {
        return weir_fail(err, WEIR_INVALID,
                         "which database? write it behind the address, HOST:PORT/DATABASE, or give "
                         "the option `database`");
    }
    target->tls = (enum weir_pg_tls)options->tls;
    target->timeout_ns = options->timeout_ns;
    target->password = options->password ? strdup(options->password) : NULL;
    target->tls_ca = options->tls_ca ? strdup(options->tls_ca) : NULL;
    target->lookups = weir_lookups_create();
    bool is_made = target->lookups && (!options->password || target->password) &&
                   (!options->tls_ca || target->tls_ca);
    return is_made ? WEIR_OK : weir_fail_no_memory(err, "a resource");
}

// ---- what is watched ----

// Quotes the name of a column; "" where there is none.
static void quote_column(const char *name, char to[static WEIR_PG_COLUMN_BYTES]) {
    to[0] = '\0';
    if (name) {
        weir_pg_quote(name, to, WEIR_PG_COLUMN_BYTES);
    }
}

static weir_status read_outbox(const struct weir_pg_options *options,
                               struct weir_pg_outbox_table *outbox, struct weir_error *err) {
    weir_status status = weir_pg_table_parse(weir_str_of(options->outbox), &outbox->name, err);
    const char *wake = options->wake ? options->wake : outbox->name.text;
    if (status == WEIR_OK && options->attributes_column && !options->payload_column) {
        status = weir_fail(err, WEIR_INVALID,
                           "attributes_column stands beside a payload_column, whose event it "
                           "describes; without that the event is the row as JSON");
    }
    if (status == WEIR_OK && strlen(wake) >= sizeof outbox->wake) {
        status = weir_fail(err, WEIR_INVALID,
                           "the name of the table %s is longer than that of a channel can be; give "
                           "the channel that is notified of new rows by the option `wake`",
                           outbox->name.text);
    }
    quote_column(options->id_column, outbox->id);
    quote_column(options->xid_column, outbox->xid);
    quote_column(options->key_column, outbox->key);
    quote_column(options->payload_column, outbox->payload);
    quote_column(options->attributes_column, outbox->attributes);
    snprintf(outbox->wake, sizeof outbox->wake, "%s", wake);
    outbox->poll_ns = options->poll_ns;
    return status;
}

static weir_status read_channels(const char *text, struct weir_pg_resource *resource,
                                 struct weir_error *err) {
    while (*text) {
        text += strspn(text, " ");
        size_t size = strcspn(text, ",");
        size_t kept = size;
        while (kept > 0 && text[kept - 1] == ' ') {
            kept--;
        }
        if (kept == 0 || kept >= WEIR_PG_NAME_BYTES ||
            resource->channel_count == WEIR_PG_CHANNELS_MAX) {
            return weir_fail(err, WEIR_INVALID,
                             "channels are names of 1 to %d bytes with commas between, at most %d",
                             WEIR_PG_NAME_BYTES - 1, WEIR_PG_CHANNELS_MAX);
        }
        char *channel = resource->channels[resource->channel_count++];
        memcpy(channel, text, kept);
        channel[kept] = '\0';
        text += size + (text[size] == ',');
    }
    return WEIR_OK;
}

static weir_status read_mode(const struct weir_pg_options *options,
                             struct weir_pg_resource *resource, struct weir_error *err) {
    if (!!options->kv + !!options->outbox + !!options->channels > 1) {
        return weir_fail(err, WEIR_INVALID,
                         "a resource is one of kv, outbox and channels; give each of them one of "
                         "its own");
    }
    if (!options->outbox && (options->key_column || options->payload_column ||
                             options->attributes_column || options->wake)) {
        return weir_fail(err, WEIR_INVALID,
                         "key_column, payload_column, attributes_column and wake are of an outbox; "
                         "give its table by the option `outbox`");
    }
    if (options->kv) {
        resource->mode = WEIR_PG_KV;
        return weir_pg_table_parse(weir_str_of(options->kv), &resource->kv, err);
    }
    if (options->outbox) {
        resource->mode = WEIR_PG_OUTBOX;
        return read_outbox(options, &resource->outbox_table, err);
    }
    if (options->channels) {
        resource->mode = WEIR_PG_CHANNELS;
        return read_channels(options->channels, resource, err);
    }
    resource->mode = WEIR_PG_ROWS;
    return WEIR_OK;
}

static weir_status read_names(const struct weir_pg_options *options,
                              struct weir_pg_resource *resource, struct weir_error *err) {
    weir_status status = WEIR_OK;
    if (options->slot) {
        status = check_slot(options->slot, err);
        snprintf(resource->slot, sizeof resource->slot, "%s", options->slot);
    } else {
        slot_of_name(resource->base.name, resource->slot);
    }
    resource->is_publication_given = options->publication != NULL;
    snprintf(resource->publication, sizeof resource->publication, "%s",
             options->publication ? options->publication : resource->slot);
    if (status == WEIR_OK) {
        status = check_publication(resource->publication, err);
    }
    return status == WEIR_OK ? read_mode(options, resource, err) : status;
}

weir_status weir_pg_options_read(const struct weir_pg_options *options,
                                 struct weir_pg_resource *resource, struct weir_error *err) {
    resource->creates = options->create;
    resource->snapshot = (enum weir_pg_snapshot)options->snapshot;
    resource->linger_ns = options->linger_ns;
    resource->heartbeat_ns = options->heartbeat_ns;
    weir_status status = read_target(options, &resource->target, err);
    return status == WEIR_OK ? read_names(options, resource, err) : status;
}
