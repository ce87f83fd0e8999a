#include "provider/redis/resource.h"
static weir_status create(struct weir_redis_resource *resource, void **ret_context,
                          struct weir_error *err) {
    (void)resource; *ret_context = NULL;
    return weir_fail(err, WEIR_UNSUPPORTED, "not yet");
}
static void destroy(void *context) { (void)context; }
const struct weir_redis_mode_functions weir_redis_streams = {.create = create, .destroy = destroy};
