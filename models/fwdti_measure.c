/*
 * fwdti_measure.c - what is read off the parameters of the free-water fit.
 */
#include "dm/models.h"
#include "models/weighted_tensor.h"

static void set(double *array, size_t i, double value)
{
    if (array)
        array[i] = value;
}

void dm_fwdti_measure(size_t n, const double *parameters, const dm_fwdti_measures *into)
{
    for (size_t i = 0; i < n; i++) {
        const double *p = parameters + i * DM_FWDTI_PARAMETERS;
        set(into->f, i, p[DM_FWDTI_F]);
        set(into->fa, i, dmi_fractional_anisotropy(p));
        set(into->md, i, (p[0] + p[1] + p[2]) / 3);
        set(into->ad, i, p[0]);
        set(into->rd, i, (p[1] + p[2]) / 2);
    }
}
