// SPDX-License-Identifier: Apache-2.0
#include "provider/postgres/resource.h"
weir_status weir_pg_examine(struct weir_resource *base, const struct weir_pattern *patterns,
                            size_t count, const struct weir_findings *findings,
                            struct weir_error *err) {
    (void)base;
    (void)patterns;
    (void)count;
    (void)findings;
    (void)err;
    return WEIR_OK;
}
weir_status weir_pg_withdraw(struct weir_resource *base, const struct weir_findings *findings,
                             struct weir_error *err) {
    (void)base;
    (void)findings;
    (void)err;
    return WEIR_OK;
}
