// SPDX-License-Identifier: Apache-2.0
//
// A fingerprint is read by the weir that comes after this one, perhaps a newer one on another
// machine: its first byte is its version, its numbers are little-endian, and one that is not
// understood is no error but an unknown state, so that the key is told once more and then known.
//
//   version, flags, ino, size, mtime, ctime, hash    (1, 1 and five times 8 bytes)
//
// The notes of a list lie one behind the other in one allocation: a million keys pass through it
// when a large directory is begun to be watched.
//
// Pure functions, any thread.
#include "provider/file/fingerprint.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 1,
    FLAG_HAS_HASH = 1 << 0,
    FLAG_IS_SETTLED = 1 << 1,
    FLAGS = FLAG_HAS_HASH | FLAG_IS_SETTLED,
    NOTES_BYTES_FIRST = 4096, // room of a list; doubles
};

static char *put_number(char *at, uint64_t number) {
    for (int shift = 0; shift < 64; shift += 8) {
        *at++ = (char)(unsigned char)(number >> shift);
    }
    return at;
}

static uint64_t take_number(const char **at) {
    uint64_t number = 0;
    for (int shift = 0; shift < 64; shift += 8) {
        number |= (uint64_t)(unsigned char)*(*at)++ << shift;
    }
    return number;
}

struct weir_str weir_file_fingerprint_encode(const struct weir_file_told *told,
                                             char buffer[static WEIR_FILE_FINGERPRINT_BYTES]) {
    char *at = buffer;
    *at++ = VERSION;
    *at++ = (char)((told->has_hash ? FLAG_HAS_HASH : 0) | (told->is_settled ? FLAG_IS_SETTLED : 0));
    at = put_number(at, told->stamp.ino);
    at = put_number(at, told->stamp.size);
    at = put_number(at, (uint64_t)told->stamp.mtime_ns);
    at = put_number(at, (uint64_t)told->stamp.ctime_ns);
    put_number(at, told->has_hash ? told->hash : 0);
    return (struct weir_str){.data = buffer, .size = WEIR_FILE_FINGERPRINT_BYTES};
}

bool weir_file_fingerprint_decode(struct weir_str fingerprint, struct weir_file_told *ret_told) {
    *ret_told = (struct weir_file_told){0}; // no file has the inode 0
    if (fingerprint.size != WEIR_FILE_FINGERPRINT_BYTES || fingerprint.data[0] != VERSION ||
        ((unsigned char)fingerprint.data[1] & ~FLAGS) != 0) {
        return false;
    }
    const char *at = fingerprint.data + 2;
    ret_told->has_hash = fingerprint.data[1] & FLAG_HAS_HASH;
    ret_told->is_settled = fingerprint.data[1] & FLAG_IS_SETTLED;
    ret_told->stamp.ino = take_number(&at);
    ret_told->stamp.size = take_number(&at);
    ret_told->stamp.mtime_ns = (int64_t)take_number(&at);
    ret_told->stamp.ctime_ns = (int64_t)take_number(&at);
    ret_told->hash = take_number(&at);
    return true;
}

// Stands before the key's bytes; not aligned.
struct note {
    struct weir_file_told told;
    size_t key_size;
};

bool weir_file_notes_add(struct weir_file_notes *notes, struct weir_str key,
                         const struct weir_file_told *told) {
    size_t more = sizeof(struct note) + key.size;
    if (notes->room - notes->size < more) {
        size_t room = notes->room ? notes->room * 2 : NOTES_BYTES_FIRST;
        while (room - notes->size < more) {
            room *= 2;
        }
        char *data = realloc(notes->data, room);
        if (!data) {
            return false;
        }
        notes->data = data;
        notes->room = room;
    }
    struct note note = {.told = *told, .key_size = key.size};
    memcpy(notes->data + notes->size, &note, sizeof note);
    if (key.size > 0) {
        memcpy(notes->data + notes->size + sizeof note, key.data, key.size);
    }
    notes->size += more;
    notes->count++;
    return true;
}

bool weir_file_notes_next(const struct weir_file_notes *notes, size_t *at, struct weir_str *ret_key,
                          struct weir_file_told *ret_told) {
    if (*at == notes->size) {
        return false;
    }
    struct note note;
    memcpy(&note, notes->data + *at, sizeof note);
    *ret_told = note.told;
    *ret_key = (struct weir_str){.data = notes->data + *at + sizeof note, .size = note.key_size};
    *at += sizeof note + note.key_size;
    return true;
}

void weir_file_notes_finish(struct weir_file_notes *notes) {
    free(notes->data);
    *notes = (struct weir_file_notes){0};
}
