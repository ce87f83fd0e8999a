// SPDX-License-Identifier: Apache-2.0
//
// See draft.h.
#include "provider/draft.h"

// The extensions are left as they are: to zero them all is a quarter of what a message costs.
void weir_draft_init(struct weir_draft *draft) {
    draft->fields = (struct weir_event_fields){0};
    draft->count = 0;
    draft->is_bad = false;
}

void weir_draft_put_extension(struct weir_draft *draft, struct weir_str name,
                              struct weir_str value) {
    if (draft->count == WEIR_EXTENSIONS_MAX) {
        draft->is_bad = true;
        return;
    }
    draft->extensions[draft->count++] = (struct weir_attribute){name, value};
}

bool weir_draft_put_attribute(struct weir_draft *draft, struct weir_str name,
                              struct weir_str value) {
    struct weir_event_fields *fields = &draft->fields;
    const struct {
        struct weir_str name;
        struct weir_str *required;
        struct weir_optional_str *optional;
    } known[] = {
        {WEIR_STR("specversion"), &fields->specversion, NULL},
        {WEIR_STR("type"), &fields->ty, NULL},
        {WEIR_STR("source"), &fields->source, NULL},
        {WEIR_STR("id"), &fields->id, NULL},
        {WEIR_STR("subject"), NULL, &fields->subject},
        {WEIR_STR("time"), NULL, &fields->time},
        {WEIR_STR("dataschema"), NULL, &fields->dataschema},
        {WEIR_STR("datacontenttype"), NULL, &fields->datacontenttype},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!weir_str_equal(name, known[i].name)) {
            continue;
        }
        if (known[i].required) {
            *known[i].required = value;
        } else {
            *known[i].optional = (struct weir_optional_str){true, value};
        }
        return true;
    }
    return false;
}

void weir_draft_put_data(struct weir_draft *draft, struct weir_payload data, uint64_t bytes_max) {
    if (data.bytes.size > bytes_max) {
        struct weir_str size = {draft->size, weir_decimal(data.bytes.size, draft->size)};
        weir_draft_put_extension(draft, WEIR_STR("dataomitted"), WEIR_STR("size"));
        weir_draft_put_extension(draft, WEIR_STR("datasize"), size);
        draft->fields.datacontenttype = (struct weir_optional_str){0};
    } else {
        draft->fields.data = (struct weir_optional_payload){true, data};
    }
}

weir_status weir_draft_finish(struct weir_draft *draft, const struct weir_event_origin *origin,
                              struct weir_event **ret_event, struct weir_error *err) {
    struct weir_event_fields *fields = &draft->fields;
    fields->extensions =
        (struct weir_attributes){.items = draft->extensions, .count = draft->count};
    weir_status status = draft->is_bad
                             ? weir_fail(err, WEIR_INVALID, "attributes that no event can have")
                             : weir_event_fields_check_utf8(fields, err);
    status = status == WEIR_OK ? weir_event_fields_check(fields, err) : status;
    return status == WEIR_OK ? weir_event_make(fields, origin, ret_event, err) : status;
}
