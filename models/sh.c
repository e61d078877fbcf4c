/*
 * sh.c - the real spherical harmonics of even order: counting them and evaluating them.
 *
 * Evaluation only; least squares in the basis is the business of who needs it.
 */
#include "dm/models.h"

#include <math.h>
#include <stdlib.h>

enum { ORDERS = DM_SH_MAX_ORDER + 1 };

size_t dm_sh_count(int lmax)
{
    if (lmax < 0 || lmax > DM_SH_MAX_ORDER || lmax % 2 != 0)
        return 0;
    return (size_t)(lmax + 1) * (size_t)(lmax + 2) / 2;
}

size_t dm_sh_index(int l, int m)
{
    return (size_t)(l * (l + 1) / 2 + m);
}

/* N_lm; the quotient of factorials as a product, which stays small. */
static double normalisation(int l, int m)
{
    double quotient = 1;
    for (int k = l - m + 1; k <= l + m; k++)
        quotient /= k;
    return sqrt((2 * l + 1) / (4 * M_PI) * quotient);
}

/* p[l][m] = P_l^m(c) with the Condon-Shortley factor; s = sqrt(1 - c^2), given so that directions
 * near the pole keep their digits. The usual recurrences, upwards in l from P_m^m. */
static void legendre(int lmax, double c, double s, double p[ORDERS][ORDERS])
{
    for (int m = 0; m <= lmax; m++) {
        p[m][m] = m == 0 ? 1 : -(2 * m - 1) * s * p[m - 1][m - 1];
        if (m < lmax)
            p[m + 1][m] = (2 * m + 1) * c * p[m][m];
        for (int l = m + 2; l <= lmax; l++)
            p[l][m] = ((2 * l - 1) * c * p[l - 1][m] - (l + m - 1) * p[l - 2][m]) / (l - m);
    }
}

/* `cosine` is the sign of the m at which cosines stand. */
static void evaluate(int lmax, int cosine, double norm[ORDERS][ORDERS], const double *direction,
                     double *row)
{
    const double x = direction[0], y = direction[1], z = direction[2];
    const double r = hypot(hypot(x, y), z);
    const double phi = atan2(y, x);
    double p[ORDERS][ORDERS];
    legendre(lmax, z / r, hypot(x, y) / r, p);
    for (int l = 0; l <= lmax; l += 2) {
        row[dm_sh_index(l, 0)] = norm[l][0] * p[l][0];
        for (int m = 1; m <= l; m++) {
            const double both = M_SQRT2 * norm[l][m] * p[l][m];
            row[dm_sh_index(l, cosine * m)] = both * cos(m * phi);
            row[dm_sh_index(l, -cosine * m)] = both * sin(m * phi);
        }
    }
}

static bool is_direction(const double *v)
{
    return isfinite(v[0]) && isfinite(v[1]) && isfinite(v[2]) &&
           (v[0] != 0 || v[1] != 0 || v[2] != 0);
}

dm_status dm_sh_matrix(dm_sh_basis basis, int lmax, size_t n, const dm_vector *directions,
                       double *matrix)
{
    const size_t count = dm_sh_count(lmax);
    if (basis != DM_SH_DESCOTEAUX07_LEGACY && basis != DM_SH_TOURNIER07)
        return dmi_error(DM_ERR_INVALID,
                         "spherical harmonics: basis %d is unknown; use DM_SH_DESCOTEAUX07_LEGACY "
                         "or DM_SH_TOURNIER07",
                         (int)basis);
    if (count == 0)
        return dmi_error(DM_ERR_INVALID,
                         "spherical harmonics: order %d; use an even one from 0 to %d", lmax,
                         DM_SH_MAX_ORDER);
    for (size_t i = 0; i < n; i++)
        if (!is_direction(directions[i]))
            return dmi_error(DM_ERR_INVALID,
                             "spherical harmonics: vector %zu is (%g, %g, %g), which has no "
                             "direction; give a finite one that is not zero",
                             i, directions[i][0], directions[i][1], directions[i][2]);

    double norm[ORDERS][ORDERS];
    for (int l = 0; l <= lmax; l += 2)
        for (int m = 0; m <= l; m++)
            norm[l][m] = normalisation(l, m);
    for (size_t i = 0; i < n; i++)
        evaluate(lmax, basis == DM_SH_TOURNIER07 ? 1 : -1, norm, directions[i], matrix + i * count);
    return DM_OK;
}
