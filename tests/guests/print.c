// SPDX-License-Identifier: Apache-2.0
//
// Prints every attribute of the event, one a line, and "." as the last. Proves: a guest sees all of
// the event.
#include <stdio.h>
#include <weir.h>

static void print(const char *name, struct weir_str value) {
    printf("%s=%.*s\n", name, WEIR_STR_ARG(value));
}

static void print_optional(const char *name, struct weir_optional_str value) {
    if (value.is_some)
        print(name, value.value);
}

static struct weir_result handle_event(const struct weir_event *event) {
    print("specversion", event->specversion);
    print("type", event->ty);
    print("source", event->source);
    print("id", event->id);
    print_optional("datacontenttype", event->datacontenttype);
    print_optional("dataschema", event->dataschema);
    print_optional("subject", event->subject);
    print_optional("time", event->time);
    for (size_t i = 0; i < event->extensions.count; i++)
        print(weir_str_c(event->extensions.items[i].name), event->extensions.items[i].value);
    if (event->data.is_some) {
        printf("bytes=%zu\n", event->data.value.bytes.size);
        if (event->data.value.kind == WEIR_PAYLOAD_TEXT) {
            print("text", event->data.value.bytes);
        } else {
            printf("binary=");
            for (size_t i = 0; i < event->data.value.bytes.size; i++)
                printf("%02x", (unsigned char)event->data.value.bytes.data[i]);
            printf("\n");
        }
    }
    printf(".\n");
    return weir_ok();
}
WEIR_EVENT_HANDLER(handle_event)
