// SPDX-License-Identifier: Apache-2.0
//
// Trying a server for `weir check --connect`, and what `weir withdraw` takes away. Any thread.
//
// What may be written is found out without writing: the server looks at the rights of each command
// when a transaction takes it, and this one is thrown away.
#include "provider/redis/resource.h"

#include "base/clock.h"
#include "base/show.h"
#include "provider/redis/names.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TEXT_BYTES = 1024,
    TRIED_WORDS_MAX = 10,
    GROUPS_TOLD_MAX = 100,
    VERSION_MIN_MAJOR = 6,
    VERSION_MIN_MINOR = 2,
};

// An examination that is under way.
struct examination {
    struct weir_redis_resource *resource;
    const struct weir_findings *findings;
    struct weir_redis_loan loan;
    const char *user; // for remedies
};

static void tell(const struct examination *examination, bool is_mistake, const char *what,
                 const char *remedy) {
    const struct weir_finding finding = {.is_mistake = is_mistake, .what = what, .remedy = remedy};
    examination->findings->tell(examination->findings->context, &finding);
}

// ---- what the server says of itself ----

// The value of a line "NAME:VALUE" of INFO; empty where there is none.
static struct weir_str info_of(struct weir_str info, const char *name) {
    size_t size = strlen(name);
    const char *at = info.data, *end = info.data + info.size;
    while (at && at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t line = (size_t)((line_end ? line_end : end) - at);
        if (line > size && memcmp(at, name, size) == 0 && at[size] == ':') {
            struct weir_str value = {at + size + 1, line - size - 1};
            value.size -= value.size > 0 && value.data[value.size - 1] == '\r';
            return value;
        }
        at = line_end ? line_end + 1 : NULL;
    }
    return (struct weir_str){0};
}

// The number at the text's start; moves the text behind it, and behind a dot.
static unsigned take_number(struct weir_str *text) {
    unsigned number = 0;
    size_t at = 0;
    while (at < text->size && at < 6 && text->data[at] >= '0' && text->data[at] <= '9') {
        number = number * 10 + (unsigned)(text->data[at++] - '0');
    }
    at += at < text->size && text->data[at] == '.';
    *text = (struct weir_str){text->data + at, text->size - at};
    return number;
}

static void tell_version(const struct examination *examination, struct weir_str version) {
    char text[TEXT_BYTES], shown[WEIR_SHOW_BYTES];
    if (version.size == 0) {
        return;
    }
    weir_show(version, shown, sizeof shown);
    unsigned major = take_number(&version), minor = take_number(&version);
    bool is_old =
        major < VERSION_MIN_MAJOR || (major == VERSION_MIN_MAJOR && minor < VERSION_MIN_MINOR);
    snprintf(text, sizeof text, "it is Redis %s%s", shown, is_old ? ", which is too old" : "");
    tell(examination, is_old, text, is_old ? "use Redis 6.2 or later" : NULL);
}

static void tell_durability(const struct examination *examination, struct weir_str info) {
    if (weir_str_equal(info_of(info, "aof_enabled"), WEIR_STR("0"))) {
        tell(examination, false,
             "it writes no journal (appendonly no): what it has confirmed since its last snapshot "
             "is gone when it dies",
             "redis-cli CONFIG SET appendonly yes");
    }
    struct weir_str policy = info_of(info, "maxmemory_policy");
    bool has_bound = info_of(info, "maxmemory").size > 0 &&
                     !weir_str_equal(info_of(info, "maxmemory"), WEIR_STR("0"));
    if (has_bound && policy.size > 0 && !weir_str_equal(policy, WEIR_STR("noeviction"))) {
        char text[TEXT_BYTES], shown[WEIR_SHOW_BYTES];
        snprintf(text, sizeof text, "it evicts keys when its memory is full (%s): %s",
                 weir_show(policy, shown, sizeof shown),
                 examination->resource->options.mode == WEIR_REDIS_KEYS
                     ? "they are told as deleted"
                     : "a stream may be among them, with all that was not read");
        tell(examination, false, text, "redis-cli CONFIG SET maxmemory-policy noeviction");
    }
}

static void tell_role(const struct examination *examination, struct weir_str info) {
    if (weir_str_equal(info_of(info, "cluster_enabled"), WEIR_STR("1"))) {
        tell(examination, true, "it is a node of a Redis Cluster, which is not supported",
             "give the address of a single server");
    }
    if (weir_str_equal(info_of(info, "role"), WEIR_STR("slave"))) {
        char text[TEXT_BYTES], shown[WEIR_SHOW_BYTES];
        weir_show(info_of(info, "master_host"), shown, sizeof shown);
        snprintf(text, sizeof text,
                 "it is a replica (of %s): nothing can be written to it, and it may be behind",
                 shown);
        tell(examination, examination->resource->options.mode == WEIR_REDIS_STREAMS, text,
             "give the address of its master");
    }
}

static weir_status examine_server(struct examination *examination, struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("INFO")};
    struct weir_redis_reply *reply = NULL;
    weir_status status = weir_redis_put(&examination->loan, words, 1, err);
    if (status == WEIR_OK) {
        status = weir_redis_take(&examination->loan, &reply, err);
    }
    if (status != WEIR_OK) {
        return status;
    }
    if (weir_redis_reply_is(reply, WEIR_REDIS_BULK)) {
        tell_version(examination, info_of(reply->bytes, "redis_version"));
        tell_role(examination, reply->bytes);
        tell_durability(examination, reply->bytes);
    } else {
        tell(examination, false, "it does not say what it is (INFO)", NULL);
    }
    weir_redis_reply_free(reply);
    return WEIR_OK;
}

// ---- rights ----

// A command that is tried.
struct tried {
    struct weir_str words[TRIED_WORDS_MAX];
    size_t count;
    bool is_needed; // for watches; else for writing alone
    const char *purpose;
    const char *rights; // what gives them, behind "ACL SETUSER NAME "
};

static void tell_refusal(const struct examination *examination, const struct tried *tried,
                         const struct weir_redis_reply *reply) {
    char what[TEXT_BYTES], remedy[TEXT_BYTES], shown[WEIR_SHOW_BYTES * 2];
    snprintf(what, sizeof what, "%s: %s", tried->purpose,
             weir_show(reply->bytes, shown, sizeof shown));
    snprintf(remedy, sizeof remedy, "redis-cli ACL SETUSER %s %s", examination->user,
             tried->rights);
    bool is_right = weir_redis_reply_fails_with(reply, "NOPERM");
    tell(examination, tried->is_needed, what, is_right ? remedy : NULL);
}

static weir_status try_one(struct weir_redis_loan *loan, const struct examination *examination,
                           const struct tried *tried, struct weir_error *err) {
    struct weir_redis_reply *reply = NULL;
    loan->until_ns = weir_clock_monotonic_ns() + loan->resource->options.timeout_ns;
    weir_status status = weir_redis_put(loan, tried->words, tried->count, err);
    if (status == WEIR_OK) {
        status = weir_redis_take(loan, &reply, err);
    }
    if (status == WEIR_OK && reply->kind == WEIR_REDIS_ERROR) {
        tell_refusal(examination, tried, reply);
    }
    weir_redis_reply_free(reply);
    return status;
}

// Whether the server would tell of changes: two connections, as a watch has them, that are closed
// again.
static weir_status examine_bell(struct examination *examination, struct weir_error *err) {
    struct weir_redis_loan bell;
    char id[24];
    const struct tried subscribe = {
        .words = {WEIR_STR("SUBSCRIBE"), WEIR_STR("__redis__:invalidate")},
        .count = 2,
        .is_needed = true,
        .purpose = "it does not let weir listen for changes",
        .rights = "+subscribe \\&__redis__:invalidate",
    };
    const struct tried untrack = {
        .words = {WEIR_STR("CLIENT"), WEIR_STR("TRACKING"), WEIR_STR("OFF")}, .count = 3};
    weir_status status = weir_redis_borrow(examination->resource, INT64_MAX, &bell, err);
    if (status != WEIR_OK) {
        return status;
    }
    snprintf(id, sizeof id, "%" PRId64, weir_redis_connection_id(bell.connection));
    const struct tried track = {
        .words = {WEIR_STR("CLIENT"), WEIR_STR("TRACKING"), WEIR_STR("ON"), WEIR_STR("REDIRECT"),
                  weir_str_of(id), WEIR_STR("BCAST"), WEIR_STR("PREFIX"),
                  WEIR_STR("weir:examined")},
        .count = 8,
        .is_needed = true,
        .purpose = "it does not let weir listen for changes",
        .rights = "+client\\|tracking +client\\|id +client\\|setname",
    };
    status = try_one(&bell, examination, &subscribe, err);
    if (status == WEIR_OK) {
        status = try_one(&examination->loan, examination, &track, err);
    }
    if (status == WEIR_OK) {
        status = try_one(&examination->loan, examination, &untrack, err);
    }
    bell.is_usable = false; // it is subscribed
    weir_redis_give_back(&bell);
    return status;
}

// A key that a watch of the pattern might have.
static struct weir_str sample_of(const struct weir_pattern *pattern) {
    return pattern->text.size > 0 ? pattern->text : WEIR_STR("key");
}

#define KEY_RIGHTS "~\\* or the keys that it is to have"

static size_t list_reading(struct weir_str key, enum weir_redis_mode mode, struct weir_str log,
                           struct tried ret_tried[static 8]) {
    size_t count = 0;
    ret_tried[count++] =
        (struct tried){.words = {WEIR_STR("SCAN"), WEIR_STR("0"), WEIR_STR("COUNT"), WEIR_STR("1")},
                       .count = 4,
                       .is_needed = true,
                       .purpose = "it does not let weir look for keys",
                       .rights = "+scan"};
    if (mode == WEIR_REDIS_STREAMS) {
        ret_tried[count++] = (struct tried){.words = {WEIR_STR("XGROUP"), WEIR_STR("CREATE"), key,
                                                      WEIR_STR("weir:examined"), WEIR_STR("$"),
                                                      WEIR_STR("MKSTREAM")},
                                            .count = 6,
                                            .is_needed = true,
                                            .purpose = "it does not let weir make consumer groups",
                                            .rights = "+xgroup " KEY_RIGHTS};
        ret_tried[count++] = (struct tried){
            .words = {WEIR_STR("XREADGROUP"), WEIR_STR("GROUP"), WEIR_STR("weir:examined"),
                      WEIR_STR("weir"), WEIR_STR("STREAMS"), key, WEIR_STR(">")},
            .count = 7,
            .is_needed = true,
            .purpose = "it does not let weir read streams",
            .rights = "+xreadgroup +xack +xpending +xclaim +xinfo +xrange +xrevrange " KEY_RIGHTS};
        return count;
    }
    ret_tried[count++] =
        (struct tried){.words = {WEIR_STR("GETRANGE"), key, WEIR_STR("0"), WEIR_STR("0")},
                       .count = 4,
                       .is_needed = true,
                       .purpose = "it does not let weir read values",
                       .rights = "+getrange +get " KEY_RIGHTS};
    if (mode == WEIR_REDIS_LOG) {
        ret_tried[count++] =
            (struct tried){.words = {WEIR_STR("XRANGE"), log, WEIR_STR("-"), WEIR_STR("+"),
                                     WEIR_STR("COUNT"), WEIR_STR("1")},
                           .count = 6,
                           .is_needed = true,
                           .purpose = "it does not let weir read the log",
                           .rights = "+xrange +xrevrange +xinfo +exists, and its key"};
    }
    return count;
}

static size_t list_writing(struct weir_str key, enum weir_redis_mode mode,
                           struct tried ret_tried[static 8]) {
    size_t count = 0;
    if (mode != WEIR_REDIS_STREAMS) {
        ret_tried[count++] = (struct tried){.words = {WEIR_STR("SET"), key, WEIR_STR("")},
                                            .count = 3,
                                            .purpose = "it does not let weir set values",
                                            .rights = "+set +unlink " KEY_RIGHTS};
    }
    if (mode == WEIR_REDIS_KEYS) {
        ret_tried[count++] = (struct tried){
            .words = {WEIR_STR("HSET"), WEIR_STR(WEIR_REDIS_CHAIN_PREFIX "examined"),
                      WEIR_STR("value"), WEIR_STR("")},
            .count = 4,
            .purpose = "it does not let weir note which event a published value comes from",
            .rights = "+hset +hmget +pexpire ~weir:chain:\\* (or set chain: 0)"};
    } else {
        ret_tried[count++] =
            (struct tried){.words = {WEIR_STR("EVAL"), WEIR_STR("return 1"), WEIR_STR("0")},
                           .count = 3,
                           .purpose = "it does not let weir run scripts, by which it writes",
                           .rights = "+eval +xadd +zadd +zscore +zremrangebyrank ~weir:seen:\\*"};
    }
    return count;
}

static weir_status try_all(struct examination *examination, const struct tried *tried, size_t count,
                           struct weir_error *err) {
    weir_status status = WEIR_OK;
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = try_one(&examination->loan, examination, &tried[i], err);
    }
    return status;
}

// Has a transaction take the commands, and throws it away.
static weir_status examine_rights(struct examination *examination,
                                  const struct weir_pattern *pattern, struct weir_error *err) {
    const struct weir_redis_options *options = &examination->resource->options;
    const struct tried multi = {.words = {WEIR_STR("MULTI")},
                                .count = 1,
                                .is_needed = true,
                                .purpose = "it does not let weir make transactions",
                                .rights = "+multi +exec +discard"},
                       discard = {.words = {WEIR_STR("DISCARD")},
                                  .count = 1,
                                  .is_needed = true,
                                  .purpose = "it does not let weir make transactions",
                                  .rights = "+multi +exec +discard"};
    struct tried tried[8];
    struct weir_str key = sample_of(pattern);
    enum weir_redis_mode mode = (enum weir_redis_mode)options->mode;
    weir_status status = try_one(&examination->loan, examination, &multi, err);
    if (status == WEIR_OK) {
        size_t count = list_reading(key, mode, weir_str_of(options->log), tried);
        status = try_all(examination, tried, count, err);
    }
    if (status == WEIR_OK) {
        status = try_all(examination, tried, list_writing(key, mode, tried), err);
    }
    return status == WEIR_OK ? try_one(&examination->loan, examination, &discard, err) : status;
}

// ---- what there is ----

// Tells where a key is of another type than the mode wants.
static weir_status examine_type(struct examination *examination, struct weir_str key,
                                const char *type, struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("TYPE"), key};
    struct weir_redis_reply *reply = NULL;
    weir_status status = weir_redis_put(&examination->loan, words, 2, err);
    if (status == WEIR_OK) {
        status = weir_redis_take(&examination->loan, &reply, err);
    }
    if (status == WEIR_OK && weir_redis_reply_is(reply, WEIR_REDIS_STATUS) &&
        !weir_redis_reply_says(reply, "none") && !weir_redis_reply_says(reply, type)) {
        char text[TEXT_BYTES], shown[WEIR_SHOW_BYTES], shown_type[WEIR_SHOW_BYTES];
        snprintf(text, sizeof text, "the key \"%s\" is a %s, and not a %s",
                 weir_show(key, shown, sizeof shown),
                 weir_show(reply->bytes, shown_type, sizeof shown_type), type);
        tell(examination, true, text, "choose another key, or another mode");
    }
    weir_redis_reply_free(reply);
    return status;
}

static weir_status examine_pattern(struct examination *examination,
                                   const struct weir_pattern *pattern, struct weir_error *err) {
    const struct weir_redis_options *options = &examination->resource->options;
    weir_status status = WEIR_OK;
    if (!pattern->is_prefix) {
        status = examine_type(examination, pattern->text,
                              options->mode == WEIR_REDIS_STREAMS ? "stream" : "string", err);
    }
    return status == WEIR_OK ? examine_rights(examination, pattern, err) : status;
}

weir_status weir_redis_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                               size_t count, const struct weir_findings *findings,
                               struct weir_error *err) {
    struct weir_redis_resource *resource = (struct weir_redis_resource *)base;
    struct examination examination = {.resource = resource, .findings = findings};
    const struct weir_pattern all = {.is_prefix = true};
    examination.user = resource->options.user ? resource->options.user : "default";
    weir_status status = weir_redis_borrow(resource, INT64_MAX, &examination.loan, err);
    if (status != WEIR_OK) {
        return status;
    }
    status = examine_server(&examination, err);
    if (status == WEIR_OK && count > 0) {
        status = examine_bell(&examination, err);
    }
    if (status == WEIR_OK && resource->options.mode == WEIR_REDIS_LOG) {
        status = examine_type(&examination, weir_str_of(resource->options.log), "stream", err);
    }
    if (status == WEIR_OK && count == 0) {
        status = examine_rights(&examination, &all, err);
    }
    for (size_t i = 0; status == WEIR_OK && i < count; i++) {
        status = examine_pattern(&examination, &patterns[i], err);
    }
    weir_redis_give_back(&examination.loan);
    return status;
}

// ---- taking away ----

struct withdrawal {
    struct examination examination;
    size_t count, told;
};

static weir_status unlink_key(void *context, struct weir_str key, struct weir_error *err) {
    struct withdrawal *withdrawal = context;
    const struct weir_str words[] = {WEIR_STR("UNLINK"), key};
    struct weir_redis_reply *reply;
    weir_status status =
        weir_redis_ask(&withdrawal->examination.loan, words, 2, "removing", &reply, err);
    withdrawal->count += status == WEIR_OK;
    weir_redis_reply_free(reply);
    return status;
}

static weir_status withdraw_keys(struct withdrawal *withdrawal, const char *prefix,
                                 const char *type, const char *what, struct weir_error *err) {
    char glob[WEIR_REDIS_GLOB_BYTES_MAX], text[TEXT_BYTES];
    const struct weir_redis_scan scan = {.glob = weir_redis_glob(weir_str_of(prefix), glob),
                                         .type = type,
                                         .renews_time = true,
                                         .each = unlink_key,
                                         .context = withdrawal};
    withdrawal->count = 0;
    weir_status status = weir_redis_scan(&withdrawal->examination.loan, &scan, err);
    if (withdrawal->count > 0) {
        snprintf(text, sizeof text, "%zu %s (%s*)", withdrawal->count, what, prefix);
        tell(&withdrawal->examination, false, text, NULL);
    }
    return status;
}

static weir_status destroy_group(struct withdrawal *withdrawal, struct weir_str key,
                                 struct weir_str group, struct weir_error *err) {
    const struct weir_str words[] = {WEIR_STR("XGROUP"), WEIR_STR("DESTROY"), key, group};
    char text[TEXT_BYTES], shown_key[WEIR_SHOW_BYTES], shown_group[4 * WEIR_SHOW_BYTES];
    struct weir_redis_reply *reply;
    weir_status status = weir_redis_ask(&withdrawal->examination.loan, words, 4,
                                        "removing a consumer group", &reply, err);
    weir_redis_reply_free(reply);
    if (status == WEIR_OK && withdrawal->told++ < GROUPS_TOLD_MAX) {
        snprintf(text, sizeof text, "the consumer group \"%s\" of the stream \"%s\"",
                 weir_show(group, shown_group, sizeof shown_group),
                 weir_show(key, shown_key, sizeof shown_key));
        tell(&withdrawal->examination, false, text, NULL);
    }
    return status;
}

static weir_status destroy_groups(void *context, struct weir_str key, struct weir_error *err) {
    struct withdrawal *withdrawal = context;
    const struct weir_str words[] = {WEIR_STR("XINFO"), WEIR_STR("GROUPS"), key};
    struct weir_redis_reply *groups;
    const struct weir_redis_reply *group;
    weir_status status = weir_redis_ask(&withdrawal->examination.loan, words, 3,
                                        "looking for consumer groups", &groups, err);
    for (size_t i = 0; status == WEIR_OK && (group = weir_redis_reply_at(groups, i)); i++) {
        const struct weir_redis_reply *name = weir_redis_reply_named(group, "name");
        if (weir_redis_reply_is(name, WEIR_REDIS_BULK) &&
            weir_str_has_prefix(name->bytes, WEIR_STR(WEIR_REDIS_GROUP_PREFIX))) {
            status = destroy_group(withdrawal, key, name->bytes, err);
        }
    }
    weir_redis_reply_free(groups);
    return status;
}

static weir_status withdraw_groups(struct withdrawal *withdrawal, struct weir_error *err) {
    char text[TEXT_BYTES];
    const struct weir_redis_scan scan = {.glob = WEIR_STR("*"),
                                         .type = "stream",
                                         .renews_time = true,
                                         .each = destroy_groups,
                                         .context = withdrawal};
    weir_status status = weir_redis_scan(&withdrawal->examination.loan, &scan, err);
    if (withdrawal->told > GROUPS_TOLD_MAX) {
        snprintf(text, sizeof text, "and %zu more of them", withdrawal->told - GROUPS_TOLD_MAX);
        tell(&withdrawal->examination, false, text, NULL);
    }
    return status;
}

// The log has what others may have written, too.
static void tell_of_log(const struct withdrawal *withdrawal) {
    char text[TEXT_BYTES], remedy[TEXT_BYTES];
    const struct weir_redis_resource *resource = withdrawal->examination.resource;
    snprintf(text, sizeof text, "the log \"%s\" stays: it has what was written",
             resource->options.log);
    snprintf(remedy, sizeof remedy, "redis-cli -n %" PRIu64 " UNLINK %s",
             resource->options.database, resource->options.log);
    tell(&withdrawal->examination, false, text, remedy);
}

weir_status weir_redis_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                                struct weir_error *err) {
    struct weir_redis_resource *resource = (struct weir_redis_resource *)base;
    struct withdrawal withdrawal = {.examination = {.resource = resource, .findings = findings}};
    weir_status status = weir_redis_borrow(resource, INT64_MAX, &withdrawal.examination.loan, err);
    if (status != WEIR_OK) {
        return status;
    }
    switch ((enum weir_redis_mode)resource->options.mode) {
    case WEIR_REDIS_KEYS:
        status = withdraw_keys(&withdrawal, WEIR_REDIS_CHAIN_PREFIX, "hash",
                               "notes of which event a value comes from", err);
        break;
    case WEIR_REDIS_LOG:
        status = withdraw_keys(&withdrawal, WEIR_REDIS_SEEN_PREFIX, "zset",
                               "lists of what was published last", err);
        tell_of_log(&withdrawal);
        break;
    case WEIR_REDIS_STREAMS:
        status = withdraw_keys(&withdrawal, WEIR_REDIS_SEEN_PREFIX, "zset",
                               "lists of what was published last", err);
        status = status == WEIR_OK ? withdraw_groups(&withdrawal, err) : status;
        break;
    }
    weir_redis_give_back(&withdrawal.examination.loan);
    return status;
}
