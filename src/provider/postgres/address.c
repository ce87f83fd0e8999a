// SPDX-License-Identifier: Apache-2.0
//
// See address.h.
#include "provider/postgres/address.h"

#include "base/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMS "write HOST:PORT/DATABASE, with user and password as options of their own"

// Copies a part of the address. False: it is too long for what it is.
static bool put(char *to, size_t room, struct weir_str part) {
    if (part.size >= room) {
        return false;
    }
    memcpy(to, part.data, part.size);
    to[part.size] = '\0';
    return true;
}

// Takes what stands before the letter, and the letter. False: it does not occur.
static bool take_before(struct weir_str *rest, char letter, struct weir_str *ret_part) {
    const char *at = rest->size > 0 ? memchr(rest->data, letter, rest->size) : NULL;
    if (!at) {
        return false;
    }
    *ret_part = (struct weir_str){rest->data, (size_t)(at - rest->data)};
    *rest = (struct weir_str){at + 1, rest->size - ret_part->size - 1};
    return true;
}

static bool is_port(struct weir_str text) {
    char digits[WEIR_PG_PORT_BYTES];
    if (text.size == 0 || !put(digits, sizeof digits, text) ||
        strspn(digits, "0123456789") != text.size) {
        return false;
    }
    long port = strtol(digits, NULL, 10);
    return port > 0 && port < 65536;
}

static weir_status put_port(struct weir_str port, struct weir_pg_address *address,
                            struct weir_error *err) {
    if (!is_port(port)) {
        return weir_fail(err, WEIR_INVALID, "\"%.*s\" is no port, 1 to 65535; " FORMS,
                         WEIR_STR_ARG(port));
    }
    put(address->port, sizeof address->port, port);
    return WEIR_OK;
}

// HOST[:PORT], [ADDRESS][:PORT].
static weir_status put_host(struct weir_str text, struct weir_pg_address *address,
                            struct weir_error *err) {
    struct weir_str host = text, port = {0};
    if (text.size > 0 && text.data[0] == '[') {
        struct weir_str rest = {text.data + 1, text.size - 1};
        if (!take_before(&rest, ']', &host) || (rest.size > 0 && rest.data[0] != ':')) {
            return weir_fail(err, WEIR_INVALID, "the address has a '[' without its ']'; " FORMS);
        }
        port = rest.size > 0 ? (struct weir_str){rest.data + 1, rest.size - 1} : rest;
    } else if (take_before(&text, ':', &host)) {
        port = text;
        if (port.size == 0 || memchr(port.data, ':', port.size)) {
            return weir_fail(err, WEIR_INVALID,
                             "an IPv6 address stands in brackets, [::1]:5432; " FORMS);
        }
    } else {
        host = text;
    }
    if (host.size == 0 || !put(address->host, sizeof address->host, host) ||
        strpbrk(address->host, ", \t")) {
        return weir_fail(err, WEIR_INVALID, "the address has no host, or one that is none; " FORMS);
    }
    return port.size > 0 ? put_port(port, address, err) : WEIR_OK;
}

// Leaves out what a URI has in front. True: it is one.
static bool take_scheme(struct weir_str *text) {
    const struct weir_str schemes[] = {WEIR_STR("postgresql://"), WEIR_STR("postgres://")};
    for (size_t i = 0; i < 2; i++) {
        if (weir_str_has_prefix(*text, schemes[i])) {
            *text = (struct weir_str){text->data + schemes[i].size, text->size - schemes[i].size};
            return true;
        }
    }
    return false;
}

static weir_status put_user(struct weir_str user, struct weir_pg_address *address,
                            struct weir_error *err) {
    if (user.size > 0 && memchr(user.data, ':', user.size)) {
        return weir_fail(err, WEIR_INVALID,
                         "a password does not stand in the address; give the option `password`, "
                         "env:NAME or file:PATH");
    }
    if (user.size == 0 || !put(address->user, sizeof address->user, user)) {
        return weir_fail(err, WEIR_INVALID, "the user in the address is empty or too long; " FORMS);
    }
    return WEIR_OK;
}

static weir_status parse_directory(const char *text, struct weir_pg_address *address,
                                   struct weir_error *err) {
    const char *colon = strrchr(text, ':');
    bool has_port = colon && is_port(weir_str_of(colon + 1));
    struct weir_str directory = {text, has_port ? (size_t)(colon - text) : strlen(text)};
    if (!put(address->host, sizeof address->host, directory)) {
        return weir_fail(err, WEIR_INVALID, "the socket's directory is longer than %d bytes",
                         WEIR_PG_HOST_BYTES - 1);
    }
    return has_port ? put_port(weir_str_of(colon + 1), address, err) : WEIR_OK;
}

weir_status weir_pg_address_parse(const char *text, struct weir_pg_address *ret_address,
                                  struct weir_error *err) {
    struct weir_str rest = weir_str_of(text), user, host;
    *ret_address = (struct weir_pg_address){.port = "5432"};
    if (text[0] == '/') {
        return parse_directory(text, ret_address, err);
    }
    bool is_uri = take_scheme(&rest);
    if (!is_uri && strstr(text, "://")) {
        return weir_fail(err, WEIR_INVALID, "the address is no PostgreSQL's; " FORMS);
    }
    if (take_before(&rest, '@', &user)) {
        weir_status status = put_user(user, ret_address, err);
        if (status != WEIR_OK) {
            return status;
        }
    }
    if (rest.size > 0 && strpbrk(rest.data, "?=@%")) {
        return weir_fail(err, WEIR_INVALID,
                         "the address has '?', '=', '@' or '%%' in it; parameters are options of "
                         "their own; " FORMS);
    }
    if (take_before(&rest, '/', &host)) {
        if (!put(ret_address->database, sizeof ret_address->database, rest)) {
            return weir_fail(err, WEIR_INVALID, "the database's name is longer than %d bytes",
                             WEIR_PG_NAME_BYTES - 1);
        }
    } else {
        host = rest;
    }
    return put_host(host, ret_address, err);
}

bool weir_pg_address_is_local(const struct weir_pg_address *address) {
    const char *host = address->host;
    return host[0] == '/' || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (strncmp(host, "127.", 4) == 0 && !weir_pg_address_is_name(address));
}

bool weir_pg_address_is_name(const struct weir_pg_address *address) {
    unsigned char bytes[sizeof(struct in6_addr)];
    return address->host[0] != '/' && inet_pton(AF_INET, address->host, bytes) != 1 &&
           inet_pton(AF_INET6, address->host, bytes) != 1;
}
