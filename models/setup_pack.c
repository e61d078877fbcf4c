/*
 * setup_pack.c - see setup_pack.h.
 */
#include "models/setup_pack.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct header {
    char magic[8];
    uint32_t version;
    uint32_t order; /* reads otherwise on a machine of other byte order */
    uint64_t n_volumes;
} header;
static_assert(sizeof(header) == 24, "no padding: every byte that is shipped has a meaning");

/* Behind the settings: n_volumes b-values, then n_volumes vectors. */
enum { VOLUME_BYTES = sizeof(double) + sizeof(dm_vector), VERSION = 2, ORDER = 0x01020304 };

size_t dmi_setup_bytes(const dmi_setup_kind *kind, const dm_gradients *gradients)
{
    return sizeof(header) + kind->settings_bytes + gradients->n_volumes * VOLUME_BYTES;
}

dm_status dmi_setup_pack(const dmi_setup_kind *kind, const void *settings,
                         const dm_gradients *gradients, void *bytes, size_t n_bytes)
{
    if (n_bytes != dmi_setup_bytes(kind, gradients))
        return dmi_error(DM_ERR_INVALID, "%s setup: given %zu bytes, need %s() = %zu", kind->name,
                         n_bytes, kind->function, dmi_setup_bytes(kind, gradients));
    header head = {.version = VERSION, .order = ORDER, .n_volumes = gradients->n_volumes};
    memcpy(head.magic, kind->magic, sizeof head.magic);
    const size_t b_bytes = gradients->n_volumes * sizeof(double);
    char *to = bytes;
    memcpy(to, &head, sizeof head);
    to += sizeof head;
    memcpy(to, settings, kind->settings_bytes);
    to += kind->settings_bytes;
    memcpy(to, gradients->b, b_bytes);
    memcpy(to + b_bytes, gradients->g, gradients->n_volumes * sizeof(dm_vector));
    return DM_OK;
}

static dm_status check(const dmi_setup_kind *kind, const header *head, size_t n_bytes)
{
    if (memcmp(head->magic, kind->magic, sizeof head->magic) != 0)
        return dmi_error(DM_ERR_FORMAT, "%s setup: the bytes do not begin like those of a setup",
                         kind->name);
    if (head->order != ORDER || head->version != VERSION)
        return dmi_error(DM_ERR_FORMAT,
                         "%s setup: packed by version %u in byte order %08x, expected %d and %08x; "
                         "pack and unpack with the same build",
                         kind->name, head->version, head->order, VERSION, ORDER);
    const size_t left = n_bytes - sizeof *head - kind->settings_bytes;
    if (left % VOLUME_BYTES != 0 || head->n_volumes != left / VOLUME_BYTES)
        return dmi_error(DM_ERR_FORMAT,
                         "%s setup: %zu bytes, which is not the size of a setup with %llu volumes",
                         kind->name, n_bytes, (unsigned long long)head->n_volumes);
    return DM_OK;
}

/* The gradient table behind the settings; copied, because the bytes may lie at any address. */
static dm_status unpack_gradients(const dmi_setup_kind *kind, const char *from, size_t n,
                                  dm_gradients **gradients)
{
    double *numbers = malloc(n > 0 ? n * VOLUME_BYTES : 1);
    if (!numbers)
        return dmi_error(DM_ERR_NOMEM, "%s setup: no memory for %zu volumes", kind->name, n);
    memcpy(numbers, from, n * VOLUME_BYTES);
    dm_status status = dm_gradients_create(n, numbers, (const dm_vector *)(numbers + n), gradients);
    free(numbers);
    return dmi_setup_unpacked(kind, status);
}

dm_status dmi_setup_unpack(const dmi_setup_kind *kind, const void *bytes, size_t n_bytes,
                           void *settings, dm_gradients **gradients)
{
    header head;
    const size_t least = sizeof head + kind->settings_bytes;
    if (!bytes)
        return dmi_error(DM_ERR_INVALID, "%s setup: a NULL argument; give packed bytes",
                         kind->name);
    if (n_bytes < least)
        return dmi_error(DM_ERR_FORMAT, "%s setup: %zu bytes, expected at least %zu; cut off?",
                         kind->name, n_bytes, least);
    memcpy(&head, bytes, sizeof head);
    dm_status status = check(kind, &head, n_bytes);
    if (status != DM_OK)
        return status;
    const char *from = bytes;
    memcpy(settings, from + sizeof head, kind->settings_bytes);
    return unpack_gradients(kind, from + least, (size_t)head.n_volumes, gradients);
}

dm_status dmi_setup_unpacked(const dmi_setup_kind *kind, dm_status status)
{
    if (status != DM_ERR_INVALID)
        return status;
    return dmi_error(DM_ERR_FORMAT, "%s setup: the packed parts make no sense: %s", kind->name,
                     dm_last_error());
}
