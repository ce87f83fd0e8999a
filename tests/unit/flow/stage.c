// SPDX-License-Identifier: Apache-2.0
//
// See stage.h.
#include "unit/flow/stage.h"

#include "provider/provider.h"

// ---- the source

struct fake_watch {
    struct weir_watch base;
    struct weir_sink sink;
    struct weir_pattern pattern; // its text is owned
    bool is_paused;              // was answered WEIR_AGAIN, and not resumed since
    struct fake_watch *next;
};

static struct fake_source *source_of(struct weir_resource *resource) {
    return (struct fake_source *)(void *)resource;
}

// Adds to a text of FAKE_RESUMED_BYTES.
static void note(char *text, struct weir_str one, struct weir_str other) {
    size_t used = strlen(text);
    int size = snprintf(text + used, FAKE_RESUMED_BYTES - used, "%.*s%s%.*s ", WEIR_STR_ARG(one),
                        other.size > 0 ? "=" : "", WEIR_STR_ARG(other));
    REQUIRE((size_t)size < FAKE_RESUMED_BYTES - used);
}

static bool note_recalled(void *context, struct weir_str key, struct weir_str fingerprint) {
    struct fake_source *source = context;
    note(source->resumed, key, fingerprint);
    return true;
}

// Where the watch goes on, or what is there when it begins.
static weir_status begin(struct fake_source *source, const struct weir_watch_args *args,
                         struct weir_error *err) {
    uint32_t capabilities = source->provider.capabilities;
    source->is_resumed = args->resume != NULL;
    source->resumed[0] = '\0';
    if (args->resume && (capabilities & WEIR_CAN_REPLAY)) {
        note(source->resumed, args->resume->position, (struct weir_str){0});
    } else if (args->resume) {
        return args->resume->recall(args->resume->context, note_recalled, source, err);
    } else if ((capabilities & WEIR_CAN_REPLAY) && args->sink.remember) {
        return args->sink.remember(args->sink.context, (struct weir_str){0}, WEIR_STR("0"));
    } else if ((capabilities & WEIR_CAN_COMPARE) && args->sink.remember) {
        return args->sink.remember(args->sink.context, WEIR_STR("there"), WEIR_STR("before"));
    }
    return WEIR_OK;
}

static void fake_acknowledge(struct weir_watch *base, struct weir_event *event) {
    struct fake_source *source = source_of(base->resource);
    pthread_mutex_lock(&source->lock);
    note(source->acknowledged, event->fields.id, (struct weir_str){0});
    pthread_mutex_unlock(&source->lock);
}

static weir_status fake_watch(struct weir_resource *resource, const struct weir_watch_args *args,
                              struct weir_watch **ret_watch, struct weir_error *err) {
    struct fake_source *source = source_of(resource);
    *ret_watch = NULL;
    if (source->watch_answer != WEIR_OK) {
        return weir_fail(err, source->watch_answer, "%s", "the source is told to refuse");
    }
    weir_status status = begin(source, args, err);
    if (status != WEIR_OK) {
        return status;
    }
    struct fake_watch *watch = calloc(1, sizeof *watch);
    char *text = malloc(args->pattern.text.size + 1);
    if (!watch || !text) {
        free(watch);
        free(text);
        return weir_fail_no_memory(err, "a watch");
    }
    if (args->pattern.text.size > 0) {
        memcpy(text, args->pattern.text.data, args->pattern.text.size);
    }
    watch->base.resource = resource;
    watch->sink = args->sink;
    watch->pattern = args->pattern;
    watch->pattern.text.data = text;
    pthread_mutex_lock(&source->lock);
    watch->next = source->watches;
    source->watches = watch;
    source->begun++;
    pthread_mutex_unlock(&source->lock);
    *ret_watch = &watch->base;
    return WEIR_OK;
}

static void fake_unwatch(struct weir_watch *base) {
    if (!base) {
        return;
    }
    struct fake_source *source = source_of(base->resource);
    pthread_mutex_lock(&source->lock);
    struct fake_watch **at = &source->watches;
    while (*at && &(*at)->base != base) {
        at = &(*at)->next;
    }
    REQUIRE(*at && "a watch is ended once");
    struct fake_watch *watch = *at;
    *at = watch->next;
    source->ended++;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->lock);
    free((char *)(uintptr_t)watch->pattern.text.data);
    free(watch);
}

static void fake_resume(struct weir_watch *base) {
    struct fake_source *source = source_of(base->resource);
    struct fake_watch *watch = (struct fake_watch *)(void *)base;
    pthread_mutex_lock(&source->lock);
    REQUIRE(watch->is_paused && "resume comes once for each WEIR_AGAIN");
    watch->is_paused = false;
    source->resumes++;
    pthread_cond_broadcast(&source->changed);
    pthread_mutex_unlock(&source->lock);
}

static const struct weir_provider fake_provider = {
    .kind = "fake",
    .capabilities = WEIR_CAN_WATCH | WEIR_CAN_PAUSE,
    .watch = fake_watch,
    .unwatch = fake_unwatch,
    .resume = fake_resume,
    .acknowledge = fake_acknowledge,
};
static const struct weir_provider fake_blind_provider = {.kind = "blind"};

void fake_source_init(struct fake_source *source, const char *name) {
    fake_source_init_as(source, name, WEIR_CAN_PAUSE);
}

void fake_source_init_as(struct fake_source *source, const char *name, uint32_t capabilities) {
    *source = (struct fake_source){.provider = fake_provider, .base = {.name = strdup(name)}};
    source->provider.capabilities = WEIR_CAN_WATCH | capabilities;
    source->base.provider = &source->provider;
    REQUIRE(source->base.name);
    pthread_mutex_init(&source->lock, NULL);
    pthread_cond_init(&source->changed, NULL);
}

void fake_blind_source_init(struct fake_source *source, const char *name) {
    fake_source_init(source, name);
    source->base.provider = &fake_blind_provider;
}

void fake_source_finish(struct fake_source *source) {
    REQUIRE(!source->watches && source->begun == source->ended && "every watch was ended");
    pthread_cond_destroy(&source->changed);
    pthread_mutex_destroy(&source->lock);
    free(source->base.name);
}

static weir_status make_event(const struct fake_source *source, const char *key, const char *id,
                              const char *body, const char *position,
                              struct weir_event **ret_event) {
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR("1.0"),
        .ty = WEIR_STR("dev.weir.test"),
        .source = weir_str_of(source->base.name),
        .id = weir_str_of(id),
        .subject = {true, weir_str_of(key)},
        .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of(body)}},
    };
    const struct weir_event_origin origin = {.key = weir_str_of(key),
                                             .position = weir_str_of(position)};
    return weir_event_make(&fields, &origin, ret_event, NULL);
}

struct weir_event *fake_event(const struct fake_source *source, const char *key, const char *id,
                              const char *body, const char *position) {
    struct weir_event *event;
    REQUIRE(make_event(source, key, id, body, position, &event) == WEIR_OK);
    return event;
}

// Under lock.
static weir_status offer_event(struct fake_source *source, struct weir_event *event) {
    weir_status status = WEIR_STOPPED;
    for (struct fake_watch *watch = source->watches; watch; watch = watch->next) {
        if (!event->is_gap && !weir_pattern_matches(&watch->pattern, event->key)) {
            continue;
        }
        REQUIRE(!watch->is_paused && "not before resume");
        status = watch->sink.offer(watch->sink.context, event);
        watch->is_paused = status == WEIR_AGAIN;
        source->refused += status == WEIR_NO_MEMORY;
    }
    return status;
}

weir_status fake_source_offer_event(struct fake_source *source, struct weir_event *event) {
    pthread_mutex_lock(&source->lock);
    weir_status status = offer_event(source, event);
    pthread_mutex_unlock(&source->lock);
    return status;
}

// Under lock. Memory that ran out for the event itself is tried again like any other.
static weir_status offer(struct fake_source *source, const char *key, const char *id,
                         const char *body) {
    struct weir_event *event;
    weir_status status = make_event(source, key, id, body, NULL, &event);
    if (status != WEIR_OK) {
        source->refused++;
        return status;
    }
    status = offer_event(source, event);
    weir_event_unref(event);
    return status;
}

weir_status fake_source_offer(struct fake_source *source, const char *key, const char *id,
                              const char *body) {
    pthread_mutex_lock(&source->lock);
    weir_status status = offer(source, key, id, body);
    pthread_mutex_unlock(&source->lock);
    return status;
}

weir_status fake_source_produce(struct fake_source *source, const char *key, const char *id,
                                const char *body) {
    struct timespec until =
        weir_clock_timespec(weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS);
    weir_status status = WEIR_AGAIN;
    pthread_mutex_lock(&source->lock);
    while (status == WEIR_AGAIN || status == WEIR_NO_MEMORY) {
        while (source->watches && source->watches->is_paused) {
            int code =
                pthread_cond_clockwait(&source->changed, &source->lock, CLOCK_MONOTONIC, &until);
            REQUIRE(code == 0 && "resumed within TEST_WAIT_MS");
        }
        status = offer(source, key, id, body);
    }
    pthread_mutex_unlock(&source->lock);
    return status;
}

size_t fake_source_resumes(struct fake_source *source) {
    pthread_mutex_lock(&source->lock);
    size_t resumes = source->resumes;
    pthread_mutex_unlock(&source->lock);
    return resumes;
}

// ---- the record

bool stage_record_line(void *context, const char *guest, struct weir_str line) {
    struct record *record = context;
    (void)guest;
    pthread_mutex_lock(&record->lock);
    REQUIRE(record->count < RECORD_LINES_MAX && line.size < RECORD_LINE_BYTES);
    memcpy(record->lines[record->count], line.data, line.size);
    record->lines[record->count++][line.size] = '\0';
    if (weir_str_has_prefix(line, WEIR_STR("hold"))) {
        struct timespec until =
            weir_clock_timespec(weir_clock_monotonic_ns() + TEST_WAIT_MS * WEIR_NS_PER_MS);
        record->held++;
        while (record->permits == 0) {
            int code =
                pthread_cond_clockwait(&record->changed, &record->lock, CLOCK_MONOTONIC, &until);
            REQUIRE(code == 0 && "let through within TEST_WAIT_MS");
        }
        record->permits--;
        record->held--;
    }
    pthread_mutex_unlock(&record->lock);
    return true;
}

size_t record_count(struct record *record) {
    pthread_mutex_lock(&record->lock);
    size_t count = record->count;
    pthread_mutex_unlock(&record->lock);
    return count;
}

size_t record_count_of(struct record *record, const char *line) {
    struct weir_pattern pattern = weir_pattern_of(weir_str_of(line));
    size_t count = 0;
    pthread_mutex_lock(&record->lock);
    for (size_t i = 0; i < record->count; i++) {
        count += weir_pattern_matches(&pattern, weir_str_of(record->lines[i]));
    }
    pthread_mutex_unlock(&record->lock);
    return count;
}

size_t record_held(struct record *record) {
    pthread_mutex_lock(&record->lock);
    size_t held = record->held;
    pthread_mutex_unlock(&record->lock);
    return held;
}

void record_permit(struct record *record, size_t count) {
    pthread_mutex_lock(&record->lock);
    record->permits += count;
    pthread_cond_broadcast(&record->changed);
    pthread_mutex_unlock(&record->lock);
}

// ---- all together

struct weir_flow_config stage_config(void) {
    return (struct weir_flow_config){.workers = 2,
                                     .grace_ns = 20 * WEIR_NS_PER_S,
                                     .queue_bytes = 64 * 1024 * 1024,
                                     .stack_bytes = 512 * 1024};
}

struct weir_retry stage_retry(void) {
    return (struct weir_retry){.attempts = 3,
                               .backoff_ns = WEIR_NS_PER_MS,
                               .backoff_max_ns = 10 * WEIR_NS_PER_MS,
                               .jitter = 0};
}

struct weir_queue_bounds stage_queue(void) {
    return (struct weir_queue_bounds){.events = 1024, .bytes = 16 * 1024 * 1024};
}

struct stage *stage_new(const struct weir_flow_config *config) {
    struct weir_flow_config usual = stage_config();
    struct stage *stage = calloc(1, sizeof *stage);
    REQUIRE(stage);
    fake_source_init(&stage->source, "store");
    pthread_mutex_init(&stage->record.lock, NULL);
    pthread_cond_init(&stage->record.changed, NULL);
    struct weir_guest_args args = small_guest_args("hello");
    args.output = (struct weir_guest_output){stage_record_line, &stage->record};
    args.time_ns = 2 * TEST_WAIT_MS * WEIR_NS_PER_MS;
    stage->guest = small_guest_new(&args);
    struct weir_error err;
    if (weir_flow_create(config ? config : &usual, &stage->flow, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return stage;
}

void stage_free(struct stage *stage) {
    weir_flow_destroy(stage->flow);
    weir_guest_unref(stage->guest);
    fake_source_finish(&stage->source);
    pthread_cond_destroy(&stage->record.changed);
    pthread_mutex_destroy(&stage->record.lock);
    free(stage);
}

struct weir_set *stage_set(struct stage *stage) {
    struct weir_set *set;
    REQUIRE(weir_set_create(stage->flow, "test", &set, NULL) == WEIR_OK);
    return set;
}

struct weir_subscription *stage_subscribe(struct stage *stage, struct weir_set *set,
                                          struct fake_source *source, const char *key,
                                          const struct weir_retry *retry,
                                          const struct weir_queue_bounds *queue) {
    const struct weir_subscription_args args = {
        .resource = &source->base,
        .key = weir_str_of(key),
        .event_bytes_max = 1024 * 1024,
        .guest = stage->guest,
        .retry = retry ? *retry : stage_retry(),
        .queue = queue ? *queue : stage_queue(),
    };
    struct weir_subscription *subscription;
    struct weir_error err;
    if (weir_subscription_create(stage->flow, &args, &subscription, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    if (set) {
        weir_set_add(set, subscription, 0);
    }
    return subscription;
}

struct weir_subscription_counts stage_counts(struct weir_subscription *subscription) {
    struct weir_subscription_counts counts;
    weir_subscription_counts(subscription, &counts);
    return counts;
}

static void *run_exec(void *argument) {
    struct stage_exec *exec = argument;
    int64_t begin_ns = weir_clock_monotonic_ns();
    exec->status = weir_set_exec(exec->set, exec->duration_ns, &exec->err);
    exec->took_ns = weir_clock_monotonic_ns() - begin_ns;
    return NULL;
}

void stage_exec_begin(struct stage_exec *exec, struct weir_set *set, int64_t duration_ns) {
    *exec = (struct stage_exec){.set = set, .duration_ns = duration_ns};
    REQUIRE(pthread_create(&exec->thread, NULL, run_exec, exec) == 0);
}

weir_status stage_exec_end(struct stage_exec *exec) {
    pthread_join(exec->thread, NULL);
    return exec->status;
}
