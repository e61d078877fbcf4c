/*
 * sh_change.c - coefficients of one basis and one frame of axes into those of another.
 *
 * Harmonics of order l turn into harmonics of order l, so the matrix has a block for each order. A
 * block is found by evaluating both bases in more directions than it has columns: no formulas for
 * rotations with their conventions, only the two bases themselves.
 */
#include "dm/models.h"
#include "models/linalg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = DM_HEMISPHERE_COUNT };

static bool is_orthogonal(const double r[3][3])
{
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const double dot = r[0][i] * r[0][j] + r[1][i] * r[1][j] + r[2][i] * r[2][j];
            if (!(fabs(dot - (i == j)) <= 1e-4))
                return false;
        }
    return true;
}

/* What both bases are in N directions of the new axes; `old` and `new` are N x n. */
static dm_status evaluate(dm_sh_basis from, dm_sh_basis to, int lmax, const double rotation[3][3],
                          double *old, double *new)
{
    const dm_vector *sphere = dm_hemisphere181();
    dm_vector turned[N];
    for (int k = 0; k < N; k++)
        for (int j = 0; j < 3; j++)
            turned[k][j] = rotation[0][j] * sphere[k][0] + rotation[1][j] * sphere[k][1] +
                           rotation[2][j] * sphere[k][2];
    dm_status status = dm_sh_matrix(from, lmax, N, turned, old);
    return status == DM_OK ? dm_sh_matrix(to, lmax, N, sphere, new) : status;
}

/* Column `column` of the block of order l: the new harmonics that make up the old one. */
static bool solve_column(int l, size_t n, size_t column, const double *old, const double *new,
                         double *matrix)
{
    enum { MOST = 2 * DM_SH_MAX_ORDER + 1 };
    double a[N * MOST], y[N], x[MOST];
    const size_t width = (size_t)(2 * l + 1), first = dm_sh_index(l, -l);
    for (size_t k = 0; k < N; k++) {
        memcpy(a + k * width, new + k *n + first, width * sizeof *a);
        y[k] = old[k * n + column];
    }
    if (!dmi_least_squares(N, width, a, y, -1, x))
        return false;
    for (size_t i = 0; i < width; i++)
        matrix[(first + i) * n + column] = x[i];
    return true;
}

static bool solve_blocks(int lmax, const double *old, const double *new, double *matrix)
{
    const size_t n = dm_sh_count(lmax);
    dmi_linalg_one_thread();
    memset(matrix, 0, n * n * sizeof *matrix);
    for (int l = 0; l <= lmax; l += 2)
        for (int m = -l; m <= l; m++)
            if (!solve_column(l, n, dm_sh_index(l, m), old, new, matrix))
                return false;
    return true;
}

/* The axes stay: the same functions in the same or in another order. */
static void exchange(dm_sh_basis from, dm_sh_basis to, int lmax, double *matrix)
{
    const size_t n = dm_sh_count(lmax);
    memset(matrix, 0, n * n * sizeof *matrix);
    for (int l = 0; l <= lmax; l += 2)
        for (int m = -l; m <= l; m++)
            matrix[dm_sh_index(l, m) * n + dm_sh_index(l, from == to ? m : -m)] = 1;
}

dm_status dm_sh_change(dm_sh_basis from, dm_sh_basis to, int lmax, const double rotation[3][3],
                       double *matrix)
{
    static const double identity[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    const size_t n = dm_sh_count(lmax);
    if (!matrix)
        return dmi_error(DM_ERR_INVALID, "change of basis: no matrix was given to write to");
    if (rotation && !is_orthogonal(rotation))
        return dmi_error(DM_ERR_INVALID, "change of basis: the rotation is not orthogonal");
    double *old = calloc(n > 0 ? n * N : 1, sizeof *old);
    double *new = calloc(n > 0 ? n * N : 1, sizeof *new);
    dm_status status = DM_OK;
    if (!old || !new)
        status = dmi_error(DM_ERR_NOMEM, "change of basis: no memory for order %d", lmax);
    if (status == DM_OK)
        status = evaluate(from, to, lmax, rotation ? rotation : identity, old, new);
    if (status == DM_OK && !rotation)
        exchange(from, to, lmax, matrix);
    if (status == DM_OK && rotation && !solve_blocks(lmax, old, new, matrix))
        status = dmi_error(DM_ERR_NUMERIC, "change of basis: no solution at order %d", lmax);
    free(old);
    free(new);
    return status;
}
