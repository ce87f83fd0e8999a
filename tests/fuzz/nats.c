// SPDX-License-Identifier: Apache-2.0
//
// What a NATS server may send: frames, and in them headers, replies and JSON. Whatever the bytes,
// reading them ends, a frame is made of the bytes that were taken for it, and a key that is read
// from a subject has that subject.
#include "provider/nats/api.h"
#include "provider/nats/header.h"
#include "provider/nats/key.h"
#include "provider/nats/login.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition) {
    if (!condition) {
        abort();
    }
}

static void check_within(struct weir_str part, struct weir_str whole) {
    require(part.size == 0 ||
            (part.data >= whole.data && part.data + part.size <= whole.data + whole.size));
}

static void check_key(struct weir_str subject) {
    static const struct weir_nats_naming bucket = {.is_bucket = true, .prefix = "$KV.b."};
    char buffer[WEIR_KEY_BYTES_MAX];
    struct weir_str key;
    struct weir_nats_subject again;
    if (weir_nats_key_of(&bucket, subject, buffer, &key)) {
        require(key.size > 0);
        if (subject.data[subject.size - 1] != '.' && !memmem(subject.data, subject.size, "..", 2) &&
            subject.data[sizeof "$KV.b." - 1] != '.' && memchr(key.data, '=', key.size)) {
            require(weir_nats_subject_of(&bucket, key, &again, NULL) == WEIR_OK);
            require(weir_str_equal(subject, (struct weir_str){again.text, again.size}));
        }
    }
}

static void look_at(const struct weir_nats_frame *frame) {
    struct weir_nats_delivery delivery;
    struct weir_nats_header header;
    struct weir_nats_fault fault;
    struct weir_nats_stream stream;
    struct weir_nats_consumer consumer;
    struct weir_nats_receipt receipt;
    struct weir_str rest = frame->headers;
    while (weir_nats_headers_next(&rest, &header)) {
        check_within(header.name, frame->headers);
        check_within(header.value, frame->headers);
        char *decoded = malloc(header.value.size + 1);
        require(decoded && weir_nats_headers_decode(header.value, decoded) <= header.value.size);
        free(decoded);
    }
    weir_nats_headers_status(frame->headers);
    weir_nats_headers_reason(frame->headers);
    weir_nats_delivery_read(frame->reply, &delivery);
    check_key(frame->subject);
    json_t *answer = weir_nats_api_read(frame, &fault);
    if (answer) {
        weir_nats_stream_read(answer, &stream);
        weir_nats_receipt_read(answer, &receipt);
        if (weir_nats_consumer_read(answer, &consumer)) {
            require(consumer.name[0]);
        }
    }
    json_decref(answer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_str text = {(const char *)data, size};
    struct weir_nats_frame frame;
    size_t taken;
    while (weir_nats_read(text, &frame, &taken, NULL) == WEIR_OK) {
        require(taken > 0 && taken <= text.size);
        struct weir_str whole = {text.data, taken};
        check_within(frame.subject, whole);
        check_within(frame.headers, whole);
        check_within(frame.data, whole);
        check_within(frame.text, whole);
        if (frame.word == WEIR_NATS_INFO) {
            struct weir_nats_info info;
            char nonce[WEIR_NATS_NONCE_BYTES];
            weir_nats_info_read(frame.text, &info, nonce, NULL);
        } else if (frame.word == WEIR_NATS_MESSAGE) {
            look_at(&frame);
        }
        text = (struct weir_str){text.data + taken, text.size - taken};
    }
    return 0;
}
