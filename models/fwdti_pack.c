/*
 * fwdti_pack.c - a free-water setup as flat bytes, and the model of such bytes; see setup_pack.h.
 */
#include "models/setup_pack.h"

#include <assert.h>

typedef struct parts {
    int32_t method;
    int32_t piterations;
    double mdreg;
    double min_signal;
    int32_t cholesky;
    int32_t f_untransformed;
} parts;
static_assert(sizeof(parts) == 32, "no padding: every byte that is shipped has a meaning");

static const dmi_setup_kind kind = {"free water", "dm_fwdti_packed_bytes", "dm-fwdti",
                                    sizeof(parts)};

size_t dm_fwdti_packed_bytes(const dm_gradients *gradients)
{
    return dmi_setup_bytes(&kind, gradients);
}

dm_status dm_fwdti_pack(const dm_fwdti_settings *settings, const dm_gradients *gradients,
                        void *bytes, size_t n_bytes)
{
    if (!gradients || !bytes)
        return dmi_error(DM_ERR_INVALID,
                         "free water setup: a NULL argument; only settings may be NULL");
    const dm_fwdti_settings chosen = settings ? *settings : dm_fwdti_defaults();
    const parts of = {.method = (int32_t)chosen.method,
                      .piterations = chosen.piterations,
                      .mdreg = chosen.mdreg,
                      .min_signal = chosen.min_signal,
                      .cholesky = chosen.cholesky,
                      .f_untransformed = chosen.f_untransformed};
    return dmi_setup_pack(&kind, &of, gradients, bytes, n_bytes);
}

dm_status dm_fwdti_unpack(const void *bytes, size_t n_bytes, dm_fwdti **model)
{
    parts of;
    dm_gradients *gradients = NULL;
    if (!model)
        return dmi_error(DM_ERR_INVALID, "free water setup: a NULL argument; give packed bytes");
    dm_status status = dmi_setup_unpack(&kind, bytes, n_bytes, &of, &gradients);
    if (status != DM_OK)
        return status;
    const dm_fwdti_settings settings = {.method = (dm_fwdti_method)of.method,
                                        .mdreg = of.mdreg,
                                        .min_signal = of.min_signal,
                                        .piterations = of.piterations,
                                        .cholesky = of.cholesky != 0,
                                        .f_untransformed = of.f_untransformed != 0};
    status = dm_fwdti_create(&settings, gradients, model);
    dm_gradients_destroy(gradients);
    return dmi_setup_unpacked(&kind, status);
}
