// SPDX-License-Identifier: Apache-2.0
//
// See digits.h.
#include "base/digits.h"

#include <string.h>

size_t weir_decimal(uint64_t number, char ret_text[static WEIR_DECIMAL_BYTES_MAX]) {
    char digits[WEIR_DECIMAL_BYTES_MAX]; // the last ones of it
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(ret_text, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

size_t weir_decimal_signed(int64_t number, char ret_text[static WEIR_DECIMAL_BYTES_MAX]) {
    if (number >= 0) {
        return weir_decimal((uint64_t)number, ret_text);
    }
    char digits[WEIR_DECIMAL_BYTES_MAX];
    size_t size = weir_decimal(-(uint64_t)number, digits); // at most 19 of them
    ret_text[0] = '-';
    memcpy(ret_text + 1, digits, size);
    return size + 1;
}

bool weir_decimal_read(struct weir_str text, uint64_t *ret_number) {
    enum { SAFE_DIGITS = 19 }; // no number of so many is too large
    uint64_t number = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)(unsigned char)text.data[i] - '0';
        if (digit > 9 || (i >= SAFE_DIGITS && number > (UINT64_MAX - digit) / 10)) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return text.size > 0;
}

void weir_hex(uint64_t number, const char letters[static 16],
              char ret_text[static WEIR_HEX_BYTES]) {
    for (size_t i = WEIR_HEX_BYTES; i-- > 0; number >>= 4) {
        ret_text[i] = letters[number & 15];
    }
}
