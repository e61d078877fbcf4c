/*
 * csd_pack.c - a CSD setup as flat bytes, and the model of such bytes.
 *
 * For processes of one machine and one version: the byte order is the machine's, and another
 * version's bytes are refused.
 */
#include "dm/models.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

typedef struct header {
    char magic[8];
    uint32_t version;
    uint32_t order; /* reads otherwise on a machine of other byte order */
    uint64_t n_volumes;
    int32_t lmax;
    int32_t max_iterations;
    int32_t basis;
    int32_t unused;
    double lambda;
    double tau;
    double evals[3];
    double s0;
} header;
static_assert(sizeof(header) == 88, "no padding: every byte that is shipped has a meaning");

/* Behind the header: n_volumes b-values, then n_volumes vectors. */
enum { VOLUME_BYTES = sizeof(double) + sizeof(dm_vector), VERSION = 1, ORDER = 0x01020304 };

static const char magic[8] = "dm-csd\r\n";

size_t dm_csd_packed_bytes(const dm_gradients *gradients)
{
    return sizeof(header) + gradients->n_volumes * VOLUME_BYTES;
}

dm_status dm_csd_pack(const dm_csd_settings *settings, const dm_gradients *gradients,
                      const dm_response *response, void *bytes, size_t n_bytes)
{
    if (!gradients || !response || !bytes)
        return dmi_error(DM_ERR_INVALID, "CSD setup: a NULL argument; only settings may be NULL");
    if (n_bytes != dm_csd_packed_bytes(gradients))
        return dmi_error(DM_ERR_INVALID,
                         "CSD setup: given %zu bytes, need dm_csd_packed_bytes() = %zu", n_bytes,
                         dm_csd_packed_bytes(gradients));
    const dm_csd_settings chosen = settings ? *settings : dm_csd_defaults();
    header head = {.version = VERSION,
                   .order = ORDER,
                   .n_volumes = gradients->n_volumes,
                   .lmax = chosen.lmax,
                   .max_iterations = chosen.max_iterations,
                   .basis = (int32_t)chosen.basis,
                   .lambda = chosen.lambda,
                   .tau = chosen.tau,
                   .s0 = response->s0};
    memcpy(head.magic, magic, sizeof head.magic);
    memcpy(head.evals, response->evals, sizeof head.evals);
    const size_t b_bytes = gradients->n_volumes * sizeof(double);
    char *to = bytes;
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, gradients->b, b_bytes);
    memcpy(to + sizeof head + b_bytes, gradients->g, gradients->n_volumes * sizeof(dm_vector));
    return DM_OK;
}

static dm_status check(const header *head, size_t n_bytes)
{
    if (memcmp(head->magic, magic, sizeof magic) != 0)
        return dmi_error(DM_ERR_FORMAT,
                         "CSD setup: the bytes do not begin like those of dm_csd_pack");
    if (head->order != ORDER || head->version != VERSION)
        return dmi_error(
            DM_ERR_FORMAT,
            "CSD setup: packed by version %u in byte order %08x, expected %d and %08x; "
            "pack and unpack with the same build",
            head->version, head->order, VERSION, ORDER);
    const size_t left = n_bytes - sizeof *head;
    if (left % VOLUME_BYTES != 0 || head->n_volumes != left / VOLUME_BYTES)
        return dmi_error(DM_ERR_FORMAT,
                         "CSD setup: %zu bytes, which is not the size of a setup with %llu volumes",
                         n_bytes, (unsigned long long)head->n_volumes);
    return DM_OK;
}

/* The gradient table behind the header; copied, because the bytes may lie at any address. */
static dm_status unpack_gradients(const char *from, size_t n, dm_gradients **gradients)
{
    double *numbers = malloc(n > 0 ? n * VOLUME_BYTES : 1);
    if (!numbers)
        return dmi_error(DM_ERR_NOMEM, "CSD setup: no memory for %zu volumes", n);
    memcpy(numbers, from, n * VOLUME_BYTES);
    dm_status status = dm_gradients_create(n, numbers, (const dm_vector *)(numbers + n), gradients);
    free(numbers);
    return status;
}

dm_status dm_csd_unpack(const void *bytes, size_t n_bytes, dm_csd **model)
{
    header head;
    if (!bytes || !model)
        return dmi_error(DM_ERR_INVALID, "CSD setup: a NULL argument; give packed bytes");
    if (n_bytes < sizeof head)
        return dmi_error(DM_ERR_FORMAT, "CSD setup: %zu bytes, expected at least %zu; cut off?",
                         n_bytes, sizeof head);
    memcpy(&head, bytes, sizeof head);
    dm_status status = check(&head, n_bytes);
    if (status != DM_OK)
        return status;
    dm_gradients *gradients = NULL;
    status =
        unpack_gradients((const char *)bytes + sizeof head, (size_t)head.n_volumes, &gradients);
    if (status == DM_OK) {
        const dm_csd_settings settings = {.lmax = head.lmax,
                                          .lambda = head.lambda,
                                          .tau = head.tau,
                                          .max_iterations = head.max_iterations,
                                          .basis = (dm_sh_basis)head.basis};
        const dm_response response = {{head.evals[0], head.evals[1], head.evals[2]}, head.s0};
        status = dm_csd_create(&settings, gradients, &response, model);
    }
    dm_gradients_destroy(gradients);
    if (status != DM_ERR_INVALID)
        return status;
    return dmi_error(DM_ERR_FORMAT, "CSD setup: the packed parts make no sense: %s",
                     dm_last_error());
}
