/*
 * csd_pack.c - a CSD setup as flat bytes, and the model of such bytes; see setup_pack.h.
 */
#include "models/setup_pack.h"

#include <assert.h>
#include <string.h>

typedef struct parts {
    int32_t lmax;
    int32_t max_iterations;
    int32_t basis;
    int32_t unused;
    double lambda;
    double tau;
    double evals[3];
    double s0;
} parts;
static_assert(sizeof(parts) == 64, "no padding: every byte that is shipped has a meaning");

static const dmi_setup_kind kind = {"CSD", "dm_csd_packed_bytes", "dm-csd\r\n", sizeof(parts)};

size_t dm_csd_packed_bytes(const dm_gradients *gradients)
{
    return dmi_setup_bytes(&kind, gradients);
}

dm_status dm_csd_pack(const dm_csd_settings *settings, const dm_gradients *gradients,
                      const dm_response *response, void *bytes, size_t n_bytes)
{
    if (!gradients || !response || !bytes)
        return dmi_error(DM_ERR_INVALID, "CSD setup: a NULL argument; only settings may be NULL");
    const dm_csd_settings chosen = settings ? *settings : dm_csd_defaults();
    parts of = {.lmax = chosen.lmax,
                .max_iterations = chosen.max_iterations,
                .basis = (int32_t)chosen.basis,
                .lambda = chosen.lambda,
                .tau = chosen.tau,
                .s0 = response->s0};
    memcpy(of.evals, response->evals, sizeof of.evals);
    return dmi_setup_pack(&kind, &of, gradients, bytes, n_bytes);
}

dm_status dm_csd_unpack(const void *bytes, size_t n_bytes, dm_csd **model)
{
    parts of;
    dm_gradients *gradients = NULL;
    if (!model)
        return dmi_error(DM_ERR_INVALID, "CSD setup: a NULL argument; give packed bytes");
    dm_status status = dmi_setup_unpack(&kind, bytes, n_bytes, &of, &gradients);
    if (status != DM_OK)
        return status;
    const dm_csd_settings settings = {.lmax = of.lmax,
                                      .lambda = of.lambda,
                                      .tau = of.tau,
                                      .max_iterations = of.max_iterations,
                                      .basis = (dm_sh_basis)of.basis};
    const dm_response response = {{of.evals[0], of.evals[1], of.evals[2]}, of.s0};
    status = dm_csd_create(&settings, gradients, &response, model);
    dm_gradients_destroy(gradients);
    return dmi_setup_unpacked(&kind, status);
}
