/*
 * weighted_tensor.c - ln S = W beta, ordinary least squares first, then weighted with the squared
 * signals that the first fit predicts (Chung et al. 2006).
 *
 * For some thousand voxels of a response; it allocates inside LAPACK for each.
 */
#include "models/weighted_tensor.h"
#include "models/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { UNKNOWNS = 7 };

/* Of the largest singular value; DIPY's, and all directions of a sensible table are above it. */
static const double CUTOFF = 1e-15;
static const double LEAST_SIGNAL = 1e-4;

struct dmi_tensor_fit {
    size_t n;
    double least_eigenvalue;
    double *w;      /* n x 7, the design */
    double *scaled; /* n x 7, room for what least squares spoil */
    double *y;      /* n or 7, the same */
    double *ln_s;   /* n */
    double *weight; /* n */
};

static void design(const dm_gradients *gradients, double *w)
{
    for (size_t i = 0; i < gradients->n_volumes; i++) {
        const double b = gradients->b[i], *g = gradients->g[i];
        const double row[UNKNOWNS] = {-b * g[0] * g[0],
                                      -2 * b * g[0] * g[1],
                                      -b * g[1] * g[1],
                                      -2 * b * g[0] * g[2],
                                      -2 * b * g[1] * g[2],
                                      -b * g[2] * g[2],
                                      -1};
        memcpy(w + i * UNKNOWNS, row, sizeof row);
    }
}

dmi_tensor_fit *dmi_tensor_fit_create(const dm_gradients *gradients)
{
    const size_t n = gradients->n_volumes, rows = n > UNKNOWNS ? n : UNKNOWNS;
    dmi_tensor_fit *fit = calloc(1, sizeof *fit);
    if (!fit)
        return NULL;
    fit->n = n;
    fit->w = calloc(rows, UNKNOWNS * sizeof(double));
    fit->scaled = calloc(rows, UNKNOWNS * sizeof(double));
    fit->y = calloc(rows, sizeof(double));
    fit->ln_s = calloc(rows, sizeof(double));
    fit->weight = calloc(rows, sizeof(double));
    if (!fit->w || !fit->scaled || !fit->y || !fit->ln_s || !fit->weight) {
        dmi_tensor_fit_destroy(fit);
        return NULL;
    }
    design(gradients, fit->w);
    double largest = 0;
    for (size_t i = 0; i < n * UNKNOWNS; i++)
        largest = fmax(largest, fabs(fit->w[i]));
    fit->least_eigenvalue = 1e-6 / largest;
    return fit;
}

void dmi_tensor_fit_destroy(dmi_tensor_fit *fit)
{
    if (!fit)
        return;
    free(fit->w);
    free(fit->scaled);
    free(fit->y);
    free(fit->ln_s);
    free(fit->weight);
    free(fit);
}

/* beta = the least squares of weight * (W beta - ln S). */
static bool solve(dmi_tensor_fit *fit, double *beta)
{
    for (size_t i = 0; i < fit->n; i++) {
        fit->y[i] = fit->weight[i] * fit->ln_s[i];
        if (!isfinite(fit->y[i]))
            return false;
        for (size_t k = 0; k < UNKNOWNS; k++)
            fit->scaled[i * UNKNOWNS + k] = fit->weight[i] * fit->w[i * UNKNOWNS + k];
    }
    return dmi_least_squares(fit->n, UNKNOWNS, fit->scaled, fit->y, CUTOFF, beta);
}

void dmi_tensor_fit_voxel(dmi_tensor_fit *fit, const double *signals, double evals[3])
{
    double beta[UNKNOWNS], ascending[3];
    evals[0] = evals[1] = evals[2] = NAN;
    for (size_t i = 0; i < fit->n; i++) {
        fit->ln_s[i] = log(signals[i] < LEAST_SIGNAL ? LEAST_SIGNAL : signals[i]);
        fit->weight[i] = 1;
    }
    if (!solve(fit, beta))
        return;
    dmi_matrix_times(fit->n, UNKNOWNS, fit->w, UNKNOWNS, beta, fit->weight);
    for (size_t i = 0; i < fit->n; i++)
        fit->weight[i] = exp(fit->weight[i]);
    if (!solve(fit, beta) || !dmi_eigenvalues3(beta, ascending))
        return;
    for (int k = 0; k < 3; k++)
        evals[k] = fmax(ascending[2 - k], fit->least_eigenvalue);
}

double dmi_fractional_anisotropy(const double e[3])
{
    const double sum = e[0] * e[0] + e[1] * e[1] + e[2] * e[2];
    const double ab = e[0] - e[1], bc = e[1] - e[2], ca = e[2] - e[0];
    return sum == 0 ? 0 : sqrt(0.5 * (ab * ab + bc * bc + ca * ca) / sum);
}
