// SPDX-License-Identifier: Apache-2.0
//
// Several handlers, each saying its name, and exports that are none: on-bad takes two arguments,
// on-nothing returns nothing, on-float takes a float. Proves: handlers are found by name, and their
// signature is looked at beforehand.
#include <stdio.h>
#include <weir.h>

static struct weir_result say(const char *handler, const struct weir_event *event) {
    printf("%s got %.*s\n", handler, WEIR_STR_ARG(event->subject.value));
    return weir_ok();
}

static struct weir_result handle_event(const struct weir_event *event) {
    return say("handle-event", event);
}
WEIR_EVENT_HANDLER(handle_event)

static struct weir_result on_order(const struct weir_event *event) {
    return say("on-order", event);
}
WEIR_HANDLER("on-order", on_order)

static struct weir_result on_invoice(const struct weir_event *event) {
    return say("on-invoice", event);
}
WEIR_HANDLER("on-invoice", on_invoice)

__attribute__((export_name("on-bad"))) int on_bad(int a, int b) {
    return a + b;
}

__attribute__((export_name("on-nothing"))) void on_nothing(int a) {
    (void)a;
}

__attribute__((export_name("on-float"))) int on_float(float a) {
    return (int)a;
}
