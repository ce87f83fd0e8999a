// SPDX-License-Identifier: Apache-2.0
//
// The nearest name by edit distance (Damerau-Levenshtein, optimal string alignment: insert, delete,
// replace, swap two neighbours, each costs 1), case ignored. About a third of the wanted name may
// differ: farther off, a suggestion misleads more than it helps. Names beyond NAME_BYTES_MAX are
// never near. Any thread.
#include "base/nearest.h"

#include <ctype.h>
#include <stdint.h>

enum { NAME_BYTES_MAX = 64 };

void weir_nearest_init(struct weir_nearest *nearest, struct weir_str wanted) {
    // One above what is allowed: 1 edit in 2 to 4 letters, 2 in 5 to 7, and so on.
    *nearest = (struct weir_nearest){.wanted = wanted, .distance = (wanted.size + 1) / 3 + 1};
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool same_letter(char a, char b) {
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

// Both texts are at most NAME_BYTES_MAX long.
static size_t distance_of(struct weir_str a, struct weir_str b) {
    // Row i holds the distances of a's first i letters to each beginning of b; three rows are
    // enough.
    uint8_t rows[3][NAME_BYTES_MAX + 1];
    for (size_t j = 0; j <= b.size; j++) {
        rows[0][j] = (uint8_t)j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        uint8_t *row = rows[i % 3];
        const uint8_t *above = rows[(i + 2) % 3];
        const uint8_t *two_above = rows[(i + 1) % 3];
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t best = above[j - 1] + (same_letter(a.data[i - 1], b.data[j - 1]) ? 0u : 1u);
            best = least(best, least(above[j] + 1u, row[j - 1] + 1u));
            if (i > 1 && j > 1 && same_letter(a.data[i - 1], b.data[j - 2]) &&
                same_letter(a.data[i - 2], b.data[j - 1])) {
                best = least(best, two_above[j - 2] + 1u);
            }
            row[j] = (uint8_t)best;
        }
    }
    return rows[a.size % 3][b.size];
}

void weir_nearest_offer(struct weir_nearest *nearest, const char *name) {
    struct weir_str offered = weir_str_of(name);
    if (nearest->wanted.size > NAME_BYTES_MAX || offered.size > NAME_BYTES_MAX) {
        return;
    }
    size_t distance = distance_of(nearest->wanted, offered);
    if (distance < nearest->distance) {
        nearest->best = name;
        nearest->distance = distance;
    }
}
