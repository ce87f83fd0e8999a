// SPDX-License-Identifier: Apache-2.0
//
// The key that a published event names. Pure functions, any thread.
#ifndef WEIR_PROVIDER_SUBJECT_H
#define WEIR_PROVIDER_SUBJECT_H

#include "event/event.h"
#include "provider/provider.h"

// An extension that weir adds where the subject, which is UTF-8, could not hold the key as it is:
// "percent" says that bytes from 0x80 on, and '%', are written as %XX.
#define WEIR_EXTENSION_SUBJECT_ENCODING "subjectencoding"

// Where the key is put if it is not the subject as it stands.
struct weir_subject_buffer {
    char text[WEIR_KEY_BYTES_MAX];
};

// The key that the subject stands for: decoded where the extension says that it is coded, else as
// it is. A view of the subject or of the buffer; empty where the event has no subject.
// WEIR_INVALID: it is longer than a key may be, has a NUL byte, or is not coded as the extension
// says.
weir_status weir_subject_key(const struct weir_event_fields *fields,
                             struct weir_subject_buffer *buffer, struct weir_str *ret_key,
                             struct weir_error *err);

// The other way: writes a key as a subject, as it is, or coded as the extension says where
// `is_coded`. Into room for 3 * key.size bytes. Returns the size.
size_t weir_subject_of_key(struct weir_str key, bool is_coded, char *to);

#endif
