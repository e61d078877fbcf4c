/*
 * maps.c - what is read off coefficients: densities in directions, and anisotropy.
 *
 * Voxel by voxel, for the same reason as in csd_fit.c.
 */
#include "dm/models.h"
#include "models/linalg.h"

#include <math.h>

void dm_odf(size_t n, size_t n_coefficients, const double *coefficients, size_t n_directions,
            const double *sh_matrix, double *odf)
{
    dmi_linalg_one_thread();
    for (size_t i = 0; i < n; i++)
        dmi_matrix_times(n_directions, n_coefficients, sh_matrix, n_coefficients,
                         coefficients + i * n_coefficients, odf + i * n_directions);
}

void dm_gfa_from_coefficients(size_t n, size_t n_coefficients, const double *coefficients,
                              double *gfa)
{
    for (size_t i = 0; i < n; i++) {
        const double *c = coefficients + i * n_coefficients;
        double sum = 0;
        for (size_t j = 0; j < n_coefficients; j++)
            sum += c[j] * c[j];
        gfa[i] = sum == 0 ? 0 : sqrt(1 - c[0] * c[0] / sum);
    }
}

void dm_gfa_from_samples(size_t n, size_t n_samples, const double *samples, double *gfa)
{
    const double count = (double)n_samples;
    for (size_t i = 0; i < n; i++) {
        const double *x = samples + i * n_samples;
        double sum = 0, squares = 0, spread = 0;
        for (size_t k = 0; k < n_samples; k++) {
            sum += x[k];
            squares += x[k] * x[k];
        }
        for (size_t k = 0; k < n_samples; k++)
            spread += (x[k] - sum / count) * (x[k] - sum / count);
        gfa[i] = sqrt(count * spread / ((count - 1) * squares));
    }
}
