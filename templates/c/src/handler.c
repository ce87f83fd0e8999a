// Called for each order that is put into the store: returns its receipt, which weir puts into
// `out`.
//
// An order is a JSON object. This guest does not read what is in it; what is no object is rejected,
// for no further attempt would make it one. For more than a look, add a JSON library to src/.
#include <weir.h>

static const struct weir_str orders = WEIR_STR("orders/");

static struct weir_str trimmed(struct weir_str text) {
    static const char blanks[] = " \t\r\n";
    while (text.size > 0 && memchr(blanks, text.data[0], sizeof blanks - 1)) {
        text.data++;
        text.size--;
    }
    while (text.size > 0 && memchr(blanks, text.data[text.size - 1], sizeof blanks - 1)) {
        text.size--;
    }
    return text;
}

static bool looks_like_object(struct weir_str text) {
    return text.size >= 2 && text.data[0] == '{' && text.data[text.size - 1] == '}';
}

static struct weir_result_or_reject on_order(const struct weir_event *event) {
    if (!event->data.is_some) {
        return weir_accept(); // the order was removed: nothing follows from that
    }
    struct weir_str key = event->subject.value, order = trimmed(weir_event_body(event));
    if (!looks_like_object(order)) {
        return weir_rejectf("%.*s is no JSON object", WEIR_STR_ARG(key));
    }
    struct weir_str number = {key.data + orders.size, key.size - orders.size};
    printf("order %.*s\n", WEIR_STR_ARG(number));

    struct weir_event receipt = *event;
    receipt.ty = WEIR_STR("com.example.receipt");
    receipt.subject.value = weir_format("receipts/%.*s", WEIR_STR_ARG(number));
    receipt.datacontenttype = (struct weir_optional_str){true, WEIR_STR("application/json")};
    receipt.data.value = (struct weir_payload){
        WEIR_PAYLOAD_TEXT, weir_format("{\"receipt\":\"%.*s\",\"order\":%.*s}",
                                       WEIR_STR_ARG(number), WEIR_STR_ARG(order))};
    return weir_accept_event(&receipt);
}
WEIR_EVENT_HANDLER_OR_REJECT(on_order)
