// SPDX-License-Identifier: Apache-2.0
//
// Events that a watch tells of itself: of a gap, and of where it has got to. The same gap has the
// same id, however often it is told: the id is made of what the gap is between. Gaps are rare, so
// nothing here is tuned. Any thread.
#include "event/event.h"

#include "base/clock.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static char *gap_data(const struct weir_gap *gap) {
    // "s%": a text that need not end in a NUL. Positions that are not UTF-8 make it fail.
    json_t *data = json_pack("{s:s%, s:s%, s:s%}", "from", gap->from.data ? gap->from.data : "",
                             gap->from.size, "to", gap->to.data ? gap->to.data : "", gap->to.size,
                             "reason", gap->reason.data ? gap->reason.data : "", gap->reason.size);
    char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    return text;
}

weir_status weir_event_of_gap(const struct weir_gap *gap, struct weir_event **ret_event,
                              struct weir_error *err) {
    *ret_event = NULL;
    char *data = gap_data(gap), *id = NULL;
    if (asprintf(&id, "gap:%.*s:%.*s:%.*s", WEIR_STR_ARG(gap->pattern), WEIR_STR_ARG(gap->from),
                 WEIR_STR_ARG(gap->to)) < 0) {
        id = NULL;
    }
    weir_status status = data && id ? WEIR_OK : weir_fail_no_memory(err, "a gap");
    if (status == WEIR_OK) {
        char time[WEIR_TIME_BYTES];
        weir_time_format(weir_clock_wall_ns(), time);
        struct weir_event_fields fields = {
            .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
            .ty = WEIR_STR(WEIR_TYPE_GAP),
            .source = gap->source,
            .id = weir_str_of(id),
            .data = {true, {WEIR_PAYLOAD_TEXT, weir_str_of(data)}},
            .datacontenttype = {true, WEIR_STR("application/json")},
            .time = {true, weir_str_of(time)},
        };
        struct weir_event_origin origin = {.position = gap->position, .is_gap = true};
        status = weir_event_make(&fields, &origin, ret_event, err);
    }
    free(data);
    free(id);
    return status;
}

weir_status weir_event_of_bookmark(struct weir_str source, struct weir_str position,
                                   struct weir_event **ret_event, struct weir_error *err) {
    const struct weir_event_fields fields = {
        .specversion = WEIR_STR(WEIR_CLOUDEVENTS_VERSION),
        .ty = WEIR_STR(WEIR_TYPE_BOOKMARK),
        .source = source,
        .id = WEIR_STR("bookmark"),
    };
    const struct weir_event_origin origin = {.position = position, .is_bookmark = true};
    return weir_event_make(&fields, &origin, ret_event, err);
}
