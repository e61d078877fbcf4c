/*
 * csd.c - setting a CSD model up: everything that is the same for all voxels.
 *
 * The fit itself is csd_fit.c's.
 */
#include "models/csd.h"
#include "models/linalg.h"
#include "models/response_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ORDERS = DM_SH_MAX_ORDER / 2 + 1 };

dm_csd_settings dm_csd_defaults(void)
{
    return (dm_csd_settings){.lmax = 8, .lambda = 1, .tau = 0.1, .max_iterations = 50};
}

static dm_status check_settings(const dm_csd_settings *s)
{
    if (s->lmax < 2 || dm_sh_count(s->lmax) == 0)
        return dmi_error(DM_ERR_INVALID, "CSD: lmax is %d; expected an even number from 2 to %d",
                         s->lmax, DM_SH_MAX_ORDER);
    if (!(s->lambda >= 0 && isfinite(s->lambda)) || !(s->tau >= 0 && isfinite(s->tau)))
        return dmi_error(DM_ERR_INVALID, "CSD: lambda is %g and tau %g; expected finite, 0 or more",
                         s->lambda, s->tau);
    if (s->max_iterations < 1)
        return dmi_error(DM_ERR_INVALID, "CSD: max_iterations is %d; expected 1 or more",
                         s->max_iterations);
    return DM_OK;
}

double *dmi_csd_allocate(size_t n_arrays, const dmi_csd_array *arrays)
{
    const size_t line = 64 / sizeof(double);
    size_t total = 0;
    for (size_t k = 0; k < n_arrays; k++)
        total += (arrays[k].n + line - 1) / line * line;
    double *memory = aligned_alloc(64, total * sizeof *memory), *next = memory;
    if (!memory)
        return NULL;
    memset(memory, 0, total * sizeof *memory);
    for (size_t k = 0; k < n_arrays; k++) {
        *arrays[k].array = next;
        next += (arrays[k].n + line - 1) / line * line;
    }
    return memory;
}

static bool allocate_arrays(dm_csd *m)
{
    const size_t square = m->stride * m->stride;
    const dmi_csd_array arrays[] = {
        {&m->x, m->n_dwi * m->stride},
        {&m->b, DMI_CSD_DIRECTIONS * m->stride},
        {&m->b_columns, m->n * DMI_CSD_SPHERE_PAD},
        {&m->p, square},
        {&m->p_all, square},
        {&m->l_columns, square},
        {&m->l_rows, square},
        {&m->inverse, m->stride},
    };
    m->memory = dmi_csd_allocate(sizeof arrays / sizeof *arrays, arrays);
    m->factor = (dmi_csd_factor){m->l_columns, m->l_rows, m->inverse};
    m->dwi = calloc(m->n_dwi, sizeof *m->dwi);
    return m->memory && m->dwi;
}

static dm_csd *allocate(const dm_csd_settings *settings, const dm_gradients *gradients)
{
    dm_csd *model = calloc(1, sizeof *model);
    if (!model)
        return NULL;
    const size_t n = dm_sh_count(settings->lmax);
    model->settings = *settings;
    model->kernel = dmi_csd_kernel_for(dmi_isa_best());
    model->n_volumes = gradients->n_volumes;
    model->n_dwi = gradients->n_dwi;
    model->n = n;
    model->stride = (n / DMI_CSD_WIDEST + 1) * DMI_CSD_WIDEST;
    model->n_low = n < dm_sh_count(4) ? n : dm_sh_count(4);
    if (!allocate_arrays(model)) {
        dm_csd_destroy(model);
        return NULL;
    }
    memcpy(model->dwi, gradients->dwi, model->n_dwi * sizeof *model->dwi);
    return model;
}

void dm_csd_destroy(dm_csd *model)
{
    if (!model)
        return;
    free(model->dwi);
    free(model->memory);
    free(model);
}

/* The signal of a fibre along z. */
static double fibre_signal(const dm_response *r, double b, const double *g)
{
    return r->s0 * exp(-b * (r->evals[0] * g[2] * g[2] + r->evals[1] * g[1] * g[1] +
                             r->evals[2] * g[0] * g[0]));
}

/*
 * r_rh[l/2], the rotational harmonics of the response: least squares of its signals on B_dwi (still
 * unscaled in model->x), of which a fibre along z leaves only m = 0 (Tournier et al. 2004).
 */
static dm_status rotational_harmonics(const dm_csd *model, const dm_gradients *gradients,
                                      const dm_response *response, double *r_rh)
{
    const size_t n = model->n, n_dwi = model->n_dwi, rows = n_dwi > n ? n_dwi : n;
    double *a = calloc(n_dwi * n, sizeof *a), *y = calloc(rows, sizeof *y);
    double *r_sh = calloc(n, sizeof *r_sh);
    dm_status status = DM_OK;
    if (!a || !y || !r_sh) {
        status = dmi_error(DM_ERR_NOMEM, "CSD: no memory for a response of %zu volumes", n_dwi);
        goto done;
    }
    for (size_t i = 0; i < n_dwi; i++) {
        const size_t volume = model->dwi[i];
        memcpy(a + i * n, model->x + i * model->stride, n * sizeof *a);
        y[i] = fibre_signal(response, gradients->b[volume], gradients->g[volume]);
    }
    if (!dmi_least_squares(n_dwi, n, a, y, -1, r_sh)) {
        status = dmi_error(DM_ERR_NUMERIC, "CSD: the response has no least squares fit; check the "
                                           "gradient table and the response");
        goto done;
    }
    for (int l = 0; l <= model->settings.lmax; l += 2)
        r_rh[l / 2] = r_sh[dm_sh_index(l, 0)] / sqrt((2 * l + 1) / (4 * M_PI));
done:
    free(a);
    free(y);
    free(r_sh);
    return status;
}

/* X = B_dwi R in model->x, where R is diagonal: column j times the harmonic of its order. */
static dm_status set_x(dm_csd *model, const dm_gradients *gradients, const dm_response *response,
                       double *r_rh)
{
    const dm_csd_settings *settings = &model->settings;
    for (size_t i = 0; i < model->n_dwi; i++) {
        dm_status status = dm_sh_matrix(settings->basis, settings->lmax, 1,
                                        (const dm_vector *)&gradients->g[model->dwi[i]],
                                        model->x + i * model->stride);
        if (status != DM_OK)
            return status;
    }
    dm_status status = rotational_harmonics(model, gradients, response, r_rh);
    if (status != DM_OK)
        return status;
    for (size_t i = 0; i < model->n_dwi; i++)
        for (int l = 0; l <= settings->lmax; l += 2)
            for (int m = -l; m <= l; m++)
                model->x[i * model->stride + dm_sh_index(l, m)] *= r_rh[l / 2];
    return DM_OK;
}

/* B, with lambda in it: the weight that makes the constraint count as much as the data. */
static dm_status set_b(dm_csd *model, double r_rh0)
{
    const dm_csd_settings *settings = &model->settings;
    const double lambda = settings->lambda * (double)model->n * r_rh0 /
                          (sqrt(DM_HEMISPHERE_COUNT) * sqrt(DM_SPHERE_COUNT));
    for (size_t r = 0; r < DMI_CSD_DIRECTIONS; r++) {
        double *row = model->b + r * model->stride;
        dm_status status =
            dm_sh_matrix(settings->basis, settings->lmax, 1, dm_hemisphere181() + r, row);
        if (status != DM_OK)
            return status;
        for (size_t j = 0; j < model->n; j++)
            model->b_columns[j * DMI_CSD_SPHERE_PAD + r] = row[j] *= lambda;
    }
    model->threshold = settings->tau * model->b[0];
    return DM_OK;
}

/* to = from + the sum of h h^T over all `n_rows` rows. False: no memory. */
static bool add_all_rows(const dm_csd *model, size_t n_rows, const double *rows, const double *from,
                         double *to)
{
    const double **list = calloc(n_rows, sizeof *list);
    for (size_t k = 0; list && k < n_rows; k++)
        list[k] = rows + k * model->stride;
    if (list)
        model->kernel->add_rows(model->n, model->stride, n_rows, list, 0, NULL, from, to);
    free(list);
    return list != NULL;
}

/* L of P from u = L D, which is in l_columns. */
static void divide_factor(dm_csd *model)
{
    for (size_t j = 0; j < model->n; j++)
        for (size_t i = j; i < model->n; i++) {
            const double l = model->l_columns[j * model->stride + i] * model->inverse[j];
            model->l_columns[j * model->stride + i] = l;
            model->l_rows[i * model->stride + j] = l;
        }
}

/* The factor of P. Where P is singular to working precision, 1e-5 on the diagonal, like DIPY. */
static dm_status factor_p(dm_csd *model, double *scratch)
{
    const size_t n = model->n, stride = model->stride;
    const dmi_csd_kernel *kernel = model->kernel;
    if (!kernel->factor(n, stride, model->p, model->l_columns, model->inverse, scratch)) {
        for (size_t k = 0; k < n; k++)
            model->p[k * stride + k] += 1e-5;
        if (!kernel->factor(n, stride, model->p, model->l_columns, model->inverse, scratch))
            return dmi_error(DM_ERR_NUMERIC,
                             "CSD: %zu dwi do not determine %zu coefficients; lower lmax from %d, "
                             "or give more directions",
                             model->n_dwi, n, model->settings.lmax);
    }
    divide_factor(model);
    return DM_OK;
}

/* P, its factor, and P + B^T B. */
static dm_status set_p(dm_csd *model)
{
    double *scratch = NULL;
    const dmi_csd_array array = {&scratch, model->stride * DMI_CSD_WIDEST};
    double *memory = dmi_csd_allocate(1, &array);
    dm_status status = DM_OK;
    if (!memory || !add_all_rows(model, model->n_dwi, model->x, model->p, model->p))
        status = dmi_error(DM_ERR_NOMEM, "CSD: no memory to set up %zu dwi", model->n_dwi);
    if (status == DM_OK)
        status = factor_p(model, scratch);
    if (status == DM_OK &&
        !add_all_rows(model, DMI_CSD_DIRECTIONS, model->b, model->p, model->p_all))
        status = dmi_error(DM_ERR_NOMEM, "CSD: no memory to set up the constraint");
    free(memory);
    return status;
}

static void warn(dm_csd *model)
{
    if (model->n_dwi < model->n)
        snprintf(model->warning, sizeof model->warning,
                 "CSD: %zu dwi for %zu coefficients; the constraint decides the rest, a lower lmax "
                 "than %d is safer",
                 model->n_dwi, model->n, model->settings.lmax);
}

dm_status dm_csd_create(const dm_csd_settings *settings, const dm_gradients *gradients,
                        const dm_response *response, dm_csd **model)
{
    if (!gradients || !response || !model)
        return dmi_error(DM_ERR_INVALID, "CSD: a NULL argument; give gradient table and response");
    const dm_csd_settings chosen = settings ? *settings : dm_csd_defaults();
    dm_status status = check_settings(&chosen);
    if (status == DM_OK)
        status = dmi_response_check("CSD", response);
    if (status != DM_OK)
        return status;
    if (gradients->n_dwi == 0)
        return dmi_error(DM_ERR_INVALID, "CSD: none of %zu volumes has b > %g; dwi are needed",
                         gradients->n_volumes, DM_B0_THRESHOLD);
    dm_csd *fresh = allocate(&chosen, gradients);
    if (!fresh)
        return dmi_error(DM_ERR_NOMEM, "CSD: no memory for a model of %zu dwi", gradients->n_dwi);
    dmi_linalg_one_thread();
    double r_rh[MOST_ORDERS];
    status = set_x(fresh, gradients, response, r_rh);
    if (status == DM_OK)
        status = set_b(fresh, r_rh[0]);
    if (status == DM_OK)
        status = set_p(fresh);
    if (status != DM_OK) {
        dm_csd_destroy(fresh);
        return status;
    }
    warn(fresh);
    *model = fresh;
    return DM_OK;
}

size_t dm_csd_n_coefficients(const dm_csd *model)
{
    return model->n;
}

size_t dm_csd_n_volumes(const dm_csd *model)
{
    return model->n_volumes;
}

const char *dm_csd_warning(const dm_csd *model)
{
    return model->warning[0] ? model->warning : NULL;
}
