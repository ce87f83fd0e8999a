// SPDX-License-Identifier: Apache-2.0
//
// The JSON event format of CloudEvents 1.0.2 (structured mode): one event, one JSON object, one
// line.
#ifndef WEIR_EVENT_JSON_H
#define WEIR_EVENT_JSON_H

#include "event/event.h"

// Writes the event as compact JSON without a line break or any other control character. `ret_text`
// is NUL-terminated and to be freed with free(). Text stands in `data` as a string; where
// datacontenttype says JSON, as the JSON that it is. Everything else, text that only claims to be
// JSON included, stands in `data_base64`, so that the bytes can always be told. WEIR_INVALID: an
// attribute is not UTF-8. WEIR_NO_MEMORY. Any thread.
weir_status weir_event_to_json(const struct weir_event_fields *fields, char **ret_text,
                               struct weir_error *err);

#endif
