// SPDX-License-Identifier: Apache-2.0
//
// See tls.h. Two memory BIOs stand where a socket would.
#include "provider/nats/tls.h"

#include <arpa/inet.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { READ_BYTES = 16 << 10 }; // a record of TLS has no more

struct weir_nats_tls {
    SSL_CTX *context;
    SSL *ssl;
    BIO *in, *out; // the SSL's
};

// Of what was put on OpenSSL's list of this thread, the first; empties it.
static const char *reason(char *buffer, size_t size) {
    unsigned long code = ERR_get_error();
    const char *text = code ? ERR_reason_error_string(code) : NULL;
    snprintf(buffer, size, "%s", text ? text : "the connection broke");
    ERR_clear_error();
    return buffer;
}

static weir_status fail_file(const char *what, const char *path, struct weir_error *err) {
    char text[128];
    return weir_fail(err, WEIR_INVALID, "%s %s cannot be used: %s", what, path,
                     reason(text, sizeof text));
}

static weir_status load_files(SSL_CTX *context, const struct weir_nats_tls_args *args,
                              struct weir_error *err) {
    if (args->ca ? SSL_CTX_load_verify_locations(context, args->ca, NULL) != 1
                 : SSL_CTX_set_default_verify_paths(context) != 1) {
        return fail_file("tls_ca", args->ca ? args->ca : "of the system", err);
    }
    if (args->certificate && SSL_CTX_use_certificate_chain_file(context, args->certificate) != 1) {
        return fail_file("tls_certificate", args->certificate, err);
    }
    if (args->key && SSL_CTX_use_PrivateKey_file(context, args->key, SSL_FILETYPE_PEM) != 1) {
        return fail_file("tls_key", args->key, err);
    }
    return WEIR_OK;
}

static bool is_address(const char *host) {
    unsigned char bytes[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, host, bytes) == 1 || inet_pton(AF_INET6, host, bytes) == 1;
}

// Whose certificate it must be.
static bool expect_host(SSL *ssl, const char *host) {
    if (is_address(host)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    // The macro for it casts a const away.
    return SSL_set1_host(ssl, host) == 1 &&
           SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
                    (void *)(uintptr_t)host) == 1;
}

static bool attach(struct weir_nats_tls *tls, const char *host) {
    tls->ssl = SSL_new(tls->context);
    tls->in = BIO_new(BIO_s_mem());
    tls->out = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->in || !tls->out) {
        BIO_free(tls->in);
        BIO_free(tls->out);
        return false;
    }
    BIO_set_mem_eof_return(tls->in, -1); // empty is no end
    BIO_set_mem_eof_return(tls->out, -1);
    SSL_set_bio(tls->ssl, tls->in, tls->out); // which are the SSL's from here on
    SSL_set_connect_state(tls->ssl);
    return expect_host(tls->ssl, host);
}

weir_status weir_nats_tls_create(const struct weir_nats_tls_args *args,
                                 struct weir_nats_tls **ret_tls, struct weir_error *err) {
    *ret_tls = NULL;
    ERR_clear_error();
    struct weir_nats_tls *tls = calloc(1, sizeof *tls);
    if (!tls) {
        return weir_fail_no_memory(err, "TLS");
    }
    tls->context = SSL_CTX_new(TLS_client_method());
    weir_status status = WEIR_OK;
    if (!tls->context || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1) {
        status = weir_fail_no_memory(err, "TLS");
    } else {
        SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
        SSL_CTX_set_options(tls->context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
        status = load_files(tls->context, args, err);
    }
    if (status == WEIR_OK && !attach(tls, args->host)) {
        status = weir_fail_no_memory(err, "TLS");
    }
    if (status != WEIR_OK) {
        weir_nats_tls_destroy(tls);
        return status;
    }
    *ret_tls = tls;
    return WEIR_OK;
}

void weir_nats_tls_destroy(struct weir_nats_tls *tls) {
    if (!tls) {
        return;
    }
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    free(tls);
}

weir_status weir_nats_tls_shake(struct weir_nats_tls *tls, struct weir_error *err) {
    ERR_clear_error();
    int code = SSL_do_handshake(tls->ssl);
    if (code == 1) {
        return WEIR_OK;
    }
    int what = SSL_get_error(tls->ssl, code);
    if (what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE) {
        return WEIR_AGAIN;
    }
    long verified = SSL_get_verify_result(tls->ssl);
    char text[128];
    if (verified != X509_V_OK) {
        return weir_fail(err, WEIR_DENIED,
                         "the server's certificate is not accepted: %s; tls_ca names the file of "
                         "the authority that it comes from",
                         X509_verify_cert_error_string(verified));
    }
    return weir_fail(err, WEIR_UNAVAILABLE, "TLS with the server fails: %s",
                     reason(text, sizeof text));
}

weir_status weir_nats_tls_feed(struct weir_nats_tls *tls, struct weir_str bytes,
                               struct weir_error *err) {
    return bytes.size == 0 || BIO_write(tls->in, bytes.data, (int)bytes.size) == (int)bytes.size
               ? WEIR_OK
               : weir_fail_no_memory(err, "what a server sends");
}

weir_status weir_nats_tls_open(struct weir_nats_tls *tls, struct weir_nats_buffer *plain,
                               struct weir_error *err) {
    ERR_clear_error();
    for (;;) { // ends: what was fed is bounded
        if (!weir_nats_buffer_reserve(plain, READ_BYTES)) {
            return weir_fail_no_memory(err, "what a server sends");
        }
        int got = SSL_read(tls->ssl, plain->bytes + plain->end, READ_BYTES);
        if (got <= 0) {
            int what = SSL_get_error(tls->ssl, got);
            char text[128];
            return what == SSL_ERROR_WANT_READ || what == SSL_ERROR_WANT_WRITE
                       ? WEIR_OK
                       : weir_fail(err, WEIR_UNAVAILABLE, "TLS with the server ended: %s",
                                   reason(text, sizeof text));
        }
        plain->end += (size_t)got;
    }
}

static weir_status move_out(struct weir_nats_tls *tls, struct weir_nats_buffer *sealed,
                            struct weir_error *err) {
    size_t pending = BIO_ctrl_pending(tls->out);
    if (pending == 0) {
        return WEIR_OK;
    }
    if (pending > INT_MAX || !weir_nats_buffer_reserve(sealed, pending)) {
        return weir_fail_no_memory(err, "a message to a server");
    }
    int got = BIO_read(tls->out, sealed->bytes + sealed->end, (int)pending);
    sealed->end += got > 0 ? (size_t)got : 0;
    return WEIR_OK;
}

weir_status weir_nats_tls_seal(struct weir_nats_tls *tls, struct weir_nats_buffer *plain,
                               struct weir_nats_buffer *sealed, struct weir_error *err) {
    struct weir_str bytes = weir_nats_buffer_view(plain);
    ERR_clear_error();
    if (bytes.size > 0) {
        size_t written = 0;
        if (SSL_write_ex(tls->ssl, bytes.data, bytes.size, &written) != 1 ||
            written != bytes.size) {
            char text[128];
            return weir_fail(err, WEIR_UNAVAILABLE, "TLS with the server fails: %s",
                             reason(text, sizeof text));
        }
        weir_nats_buffer_take(plain, bytes.size);
    }
    return move_out(tls, sealed, err);
}
