// SPDX-License-Identifier: Apache-2.0
//
// See nkey.h. A seed is Base32 of two bytes that tell its kind, the 32 bytes of the seed, and their
// CRC-16; a public key is that of one byte, the 32 bytes of the key, and their CRC-16.
#include "provider/nats/nkey.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

enum {
    SEED_BYTES = 32,
    SEED_CODED_BYTES = 58, // as text
    KEY_BYTES = 32,
    SIGNATURE_BYTES = 64,
    PREFIX_SEED = 18 << 3, // 'S'
    PREFIX_USER = 20 << 3, // 'U'
};

static uint16_t checksum(const unsigned char *bytes, size_t size) {
    uint16_t crc = 0; // CRC-16/XMODEM
    for (size_t i = 0; i < size; i++) {
        crc = (uint16_t)(crc ^ (bytes[i] << 8));
        for (int bit = 0; bit < 8; bit++) {
            crc = (uint16_t)(crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1);
        }
    }
    return crc;
}

static const char base32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

// Returns how many bytes; 0: it is no Base32, or does not fit.
static size_t decode_base32(struct weir_str text, unsigned char *ret_bytes, size_t size) {
    uint32_t bits = 0;
    unsigned count = 0;
    size_t filled = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *at = text.data[i] ? strchr(base32, text.data[i]) : NULL;
        if (!at) {
            return 0;
        }
        bits = bits << 5 | (uint32_t)(at - base32);
        count += 5;
        if (count >= 8) {
            if (filled == size) {
                return 0;
            }
            count -= 8;
            ret_bytes[filled++] = (unsigned char)(bits >> count);
        }
    }
    return filled;
}

static void encode_base32(const unsigned char *bytes, size_t size, char *ret_text) {
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < size; i++) {
        bits = bits << 8 | bytes[i];
        for (count += 8; count >= 5; count -= 5) {
            *ret_text++ = base32[bits >> (count - 5) & 31];
        }
    }
    if (count > 0) {
        *ret_text++ = base32[bits << (5 - count) & 31];
    }
    *ret_text = '\0';
}

static bool decode_seed(struct weir_str text, unsigned char ret_seed[static SEED_BYTES]) {
    unsigned char bytes[2 + SEED_BYTES + 2];
    bool is_good =
        text.size == SEED_CODED_BYTES && decode_base32(text, bytes, sizeof bytes) == sizeof bytes;
    if (is_good) {
        uint16_t crc = (uint16_t)(bytes[sizeof bytes - 2] | bytes[sizeof bytes - 1] << 8);
        unsigned char kind = (unsigned char)((bytes[0] & 7) << 5 | bytes[1] >> 3);
        is_good = checksum(bytes, sizeof bytes - 2) == crc && (bytes[0] & 0xF8) == PREFIX_SEED &&
                  kind == PREFIX_USER;
        memcpy(ret_seed, bytes + 2, SEED_BYTES);
    }
    explicit_bzero(bytes, sizeof bytes);
    return is_good;
}

static void write_key(const unsigned char key[static KEY_BYTES], struct weir_nats_proof *proof) {
    unsigned char bytes[1 + KEY_BYTES + 2] = {PREFIX_USER};
    memcpy(bytes + 1, key, KEY_BYTES);
    uint16_t crc = checksum(bytes, 1 + KEY_BYTES);
    bytes[1 + KEY_BYTES] = (unsigned char)crc;
    bytes[2 + KEY_BYTES] = (unsigned char)(crc >> 8);
    encode_base32(bytes, sizeof bytes, proof->key);
}

static void write_signature(const unsigned char bytes[static SIGNATURE_BYTES],
                            struct weir_nats_proof *proof) {
    char *text = proof->signature;
    EVP_EncodeBlock((unsigned char *)text, bytes, SIGNATURE_BYTES);
    for (; *text; text++) {
        *text = *text == '+' ? '-' : *text == '/' ? '_' : *text == '=' ? '\0' : *text;
        if (!*text) {
            return;
        }
    }
}

static bool sign(EVP_PKEY *key, EVP_MD_CTX *context, struct weir_str nonce,
                 struct weir_nats_proof *ret_proof) {
    unsigned char public_key[KEY_BYTES], signature[SIGNATURE_BYTES];
    size_t key_size = sizeof public_key, signature_size = sizeof signature;
    if (!key || !context || EVP_PKEY_get_raw_public_key(key, public_key, &key_size) != 1 ||
        EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, signature, &signature_size, (const unsigned char *)nonce.data,
                       nonce.size) != 1) {
        return false;
    }
    write_key(public_key, ret_proof);
    write_signature(signature, ret_proof);
    return true;
}

weir_status weir_nats_sign(struct weir_str seed, struct weir_str nonce,
                           struct weir_nats_proof *ret_proof, struct weir_error *err) {
    unsigned char bytes[SEED_BYTES] = {0};
    if (!decode_seed(seed, bytes)) {
        return weir_fail(err, WEIR_INVALID,
                         "that is no seed of a user's nkey: it begins with SU and has %d letters",
                         SEED_CODED_BYTES);
    }
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, bytes, sizeof bytes);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool is_signed = sign(key, context, nonce, ret_proof);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    explicit_bzero(bytes, sizeof bytes);
    return is_signed ? WEIR_OK : weir_fail_no_memory(err, "the signature of a server's nonce");
}

// The line below the one that has this text.
static bool line_below(struct weir_str text, const char *title, struct weir_str *ret_line) {
    const char *end = text.data + text.size;
    const char *at = memmem(text.data, text.size, title, strlen(title));
    at = at ? memchr(at, '\n', (size_t)(end - at)) : NULL;
    if (!at) {
        return false;
    }
    at++;
    const char *stop = memchr(at, '\n', (size_t)(end - at));
    *ret_line = (struct weir_str){at, (size_t)((stop ? stop : end) - at)};
    while (ret_line->size > 0 && strchr("\r ", at[ret_line->size - 1])) {
        ret_line->size--;
    }
    return ret_line->size > 0;
}

weir_status weir_nats_credentials(struct weir_str text, struct weir_str *ret_jwt,
                                  struct weir_str *ret_seed, struct weir_error *err) {
    if (!line_below(text, "BEGIN NATS USER JWT", ret_jwt) ||
        !line_below(text, "BEGIN USER NKEY SEED", ret_seed)) {
        return weir_fail(
            err, WEIR_INVALID,
            "that is no file of credentials: it has a JWT and a seed, as nsc makes it");
    }
    return WEIR_OK;
}
