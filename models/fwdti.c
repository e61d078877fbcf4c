/*
 * fwdti.c - setting a free-water model up: everything that is the same for all voxels.
 *
 * The fit itself is fwdti_fit.c's.
 */
#include "models/fwdti.h"
#include "models/isa.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TENSOR = DMI_FWDTI_TENSOR, LEAST_B_VALUES = 3 };

dm_fwdti_settings dm_fwdti_defaults(void)
{
    return (dm_fwdti_settings){
        .method = DM_FWDTI_NLS, .mdreg = 2.7e-3, .min_signal = 1e-6, .piterations = 3};
}

static dm_status check_settings(const dm_fwdti_settings *s)
{
    if (s->method != DM_FWDTI_NLS && s->method != DM_FWDTI_WLS)
        return dmi_error(DM_ERR_INVALID,
                         "free water: method %d is none; expected DM_FWDTI_NLS or DM_FWDTI_WLS",
                         (int)s->method);
    if (isnan(s->mdreg))
        return dmi_error(DM_ERR_INVALID, "free water: mdreg is NaN; expected a number, in mm2/s");
    if (!(s->min_signal >= DBL_MIN && isfinite(s->min_signal)))
        return dmi_error(DM_ERR_INVALID,
                         "free water: min_signal is %g; expected a finite number above 0",
                         s->min_signal);
    if (s->piterations < 1 || s->piterations > DM_FWDTI_MOST_PITERATIONS)
        return dmi_error(DM_ERR_INVALID, "free water: piterations is %d; expected 1 to %d",
                         s->piterations, DM_FWDTI_MOST_PITERATIONS);
    if (s->method == DM_FWDTI_WLS && (s->cholesky || s->f_untransformed))
        return dmi_error(DM_ERR_INVALID,
                         "free water: cholesky and f_untransformed are of the non-linear fit; "
                         "they do not go with DM_FWDTI_WLS");
    return DM_OK;
}

/* ---- what a gradient table must have ---- */

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How many b-values there are, rounded to two digits of the greatest. 0 without memory. */
static size_t count_b_values(const dm_gradients *gradients)
{
    const size_t n = gradients->n_volumes;
    double *b = calloc(n, sizeof *b), largest = 0;
    if (!b)
        return 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, gradients->b[i]);
    const double unit = largest > 0 ? pow(10, floor(log10(largest)) - 1) : 1;
    for (size_t i = 0; i < n; i++)
        b[i] = nearbyint(gradients->b[i] / unit);
    qsort(b, n, sizeof *b, ascending);
    size_t count = 1;
    for (size_t i = 1; i < n; i++)
        count += b[i] != b[i - 1];
    free(b);
    return count;
}

static dm_status check_gradients(const dm_gradients *gradients)
{
    const size_t n = gradients->n_volumes;
    if (n == gradients->n_dwi)
        return dmi_error(DM_ERR_INVALID,
                         "free water: none of %zu volumes is a b0 (b up to %g); at least one is "
                         "needed, for S0",
                         n, DM_B0_THRESHOLD);
    const size_t count = count_b_values(gradients);
    if (count == 0)
        return dmi_error(DM_ERR_NOMEM, "free water: no memory for %zu b-values", n);
    if (count < LEAST_B_VALUES)
        return dmi_error(DM_ERR_INVALID,
                         "free water: %zu distinct b-value%s found in %zu volumes; at least %d are "
                         "needed, b = 0 among them: water and tissue cannot be told apart from "
                         "one shell",
                         count, count == 1 ? " was" : "s were", n, LEAST_B_VALUES);
    return DM_OK;
}

/* ---- the model ---- */

static dm_fwdti *allocate(const dm_fwdti_settings *settings, const dm_gradients *gradients)
{
    enum { COLUMNS = TENSOR + 2 };
    dm_fwdti *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    model->settings = *settings;
    model->n = gradients->n_volumes;
    model->padded = (model->n + DMI_FWDTI_PADDING - 1) / DMI_FWDTI_PADDING * DMI_FWDTI_PADDING;
    model->b0 = calloc(model->n, sizeof *model->b0);
    model->memory = aligned_alloc(64, COLUMNS * model->padded * sizeof(double));
    if (!model->b0 || !model->memory) {
        dm_fwdti_destroy(model);
        return NULL;
    }
    memset(model->memory, 0, COLUMNS * model->padded * sizeof(double));
    for (int j = 0; j < TENSOR; j++)
        model->w[j] = model->memory + (size_t)j * model->padded;
    model->water = model->memory + TENSOR * model->padded;
    model->present = model->water + model->padded;
    return model;
}

void dm_fwdti_destroy(dm_fwdti *model)
{
    if (!model)
        return;
    free(model->b0);
    free(model->memory);
    free(model);
}

static void set_columns(dm_fwdti *model, const dm_gradients *gradients)
{
    for (size_t i = 0; i < model->n; i++) {
        const double b = gradients->b[i], *g = gradients->g[i];
        const double row[TENSOR] = {-b * g[0] * g[0],     -2 * b * g[0] * g[1], -b * g[1] * g[1],
                                    -2 * b * g[0] * g[2], -2 * b * g[1] * g[2], -b * g[2] * g[2]};
        for (int j = 0; j < TENSOR; j++)
            model->w[j][i] = row[j];
        model->water[i] = exp(DM_FREE_WATER_DIFFUSIVITY * (row[0] + row[2] + row[5]));
        model->present[i] = 1;
        if (b <= DM_B0_THRESHOLD)
            model->b0[model->n_b0++] = i;
    }
}

static const dmi_fwdti_sweeps *choose_sweeps(void)
{
    const dmi_isa isa = dmi_isa_best();
    if (isa >= DMI_ISA_AVX512 && dmi_fwdti_sweeps_avx512)
        return dmi_fwdti_sweeps_avx512;
    if (isa >= DMI_ISA_AVX2 && dmi_fwdti_sweeps_avx2)
        return dmi_fwdti_sweeps_avx2;
    return &dmi_fwdti_sweeps_plain;
}

dm_status dm_fwdti_create(const dm_fwdti_settings *settings, const dm_gradients *gradients,
                          dm_fwdti **model)
{
    if (!gradients || !model)
        return dmi_error(DM_ERR_INVALID, "free water: a NULL argument; give a gradient table");
    const dm_fwdti_settings chosen = settings ? *settings : dm_fwdti_defaults();
    dm_status status = check_settings(&chosen);
    if (status == DM_OK)
        status = check_gradients(gradients);
    if (status != DM_OK)
        return status;
    dm_fwdti *fresh = allocate(&chosen, gradients);
    if (!fresh)
        return dmi_error(DM_ERR_NOMEM, "free water: no memory for a model of %zu volumes",
                         gradients->n_volumes);
    set_columns(fresh, gradients);
    fresh->sweeps = choose_sweeps();
    *model = fresh;
    return DM_OK;
}

size_t dm_fwdti_n_volumes(const dm_fwdti *model)
{
    return model->n;
}
