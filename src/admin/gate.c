// SPDX-License-Identifier: Apache-2.0
//
// Who is let in. On an address of this machine alone, and on a socket, whose file's mode keeps
// others out, reading is free. Elsewhere it wants the token, and so does every change: a header
// that no page of another site can have a browser send.
//
// Reading without a token is still kept from other sites' pages: browsers say where a request comes
// from (Sec-Fetch-Site), and a name that somebody has lead to this machine (DNS rebinding) is told
// by the Host that was asked for. Source: the Fetch Metadata Request Headers of W3C.
#include "admin/server.h"

#include "config/secret.h"

#include <stdio.h>
#include <strings.h>

// Takes as long whatever is in it.
static bool is_same_secret(struct weir_str given, const struct weir_secret *secret) {
    unsigned char differs = given.size != secret->size;
    for (size_t i = 0; i < given.size; i++) {
        differs |=
            (unsigned char)(given.data[i] ^ secret->text[secret->size ? i % secret->size : 0]);
    }
    return !differs && secret->size > 0;
}

static const char *header_of(const struct weir_admin_request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

// The token that was given; NULL: none.
static const char *token_of(const struct weir_admin_request *request) {
    static const char scheme[] = "Bearer ";
    const char *header = header_of(request, MHD_HTTP_HEADER_AUTHORIZATION);
    return header && strncasecmp(header, scheme, sizeof scheme - 1) == 0
               ? header + sizeof scheme - 1
               : NULL;
}

// The secret is read anew each time, so that one that was changed holds at once.
static bool has_right_token(const struct weir_admin *admin,
                            const struct weir_admin_request *request) {
    const char *given = token_of(request);
    struct weir_secret secret;
    if (!given || !admin->config.token ||
        weir_secret_read(admin->config.token, &secret, NULL) != WEIR_OK) {
        return false;
    }
    bool is_right = is_same_secret(weir_str_of(given), &secret);
    weir_secret_forget(&secret);
    return is_right;
}

// "localhost", "127.1.2.3" or "[::1]", with a port or none, and nothing else.
static bool is_local_host(const char *host) {
    static const char *const names[] = {"localhost", "[::1]"};
    size_t size = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && size == 0; i++) {
        size = strncasecmp(host, names[i], strlen(names[i])) == 0 ? strlen(names[i]) : 0;
    }
    if (size == 0 && strncmp(host, "127.", 4) == 0) {
        size = strspn(host, "0123456789.");
    }
    bool has_port =
        host[size] == ':' && strspn(host + size + 1, "0123456789") == strlen(host + size + 1);
    return size > 0 && (host[size] == '\0' || has_port);
}

static bool is_of_another_site(const struct weir_admin_request *request) {
    const char *site = header_of(request, "Sec-Fetch-Site");
    return site && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0;
}

static bool refuse(struct weir_admin_answer *answer, unsigned http_status, const char *why) {
    struct weir_error err;
    weir_fail(&err, WEIR_DENIED, "%s", why);
    weir_admin_fail(answer, &err);
    answer->status = http_status;
    return false;
}

bool weir_admin_let_in(struct weir_admin *admin, struct weir_admin_request *request,
                       bool is_for_all, bool is_change, struct weir_admin_answer *answer) {
    const char *host = header_of(request, MHD_HTTP_HEADER_HOST);
    request->may_change = has_right_token(admin, request);
    if (request->may_change || (is_for_all && !admin->is_open)) {
        return true;
    }
    if (is_change && !admin->config.token) {
        return refuse(answer, MHD_HTTP_FORBIDDEN,
                      "nothing can be changed here: the configuration has no admin.token");
    }
    if (is_change || !admin->is_open) {
        return refuse(answer, MHD_HTTP_UNAUTHORIZED,
                      token_of(request) ? "this is not the token of admin.token"
                                        : "this wants the token of admin.token, as Authorization: "
                                          "Bearer TOKEN");
    }
    if (host && !is_local_host(host)) {
        return refuse(answer, MHD_HTTP_FORBIDDEN,
                      "under this name a token is wanted; without one ask for localhost");
    }
    if (!is_for_all && is_of_another_site(request)) {
        return refuse(answer, MHD_HTTP_FORBIDDEN, "pages of other sites may not read this");
    }
    return true;
}
