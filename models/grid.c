/*
 * grid.c - how the voxel axes lie in the scanner: affine and rotation of a NIfTI header.
 */
#include "dm/models.h"

#include <math.h>
#include <string.h>

static double determinant(const double m[3][3])
{
    return m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) -
           m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0]) +
           m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0]);
}

/* NIfTI-1's method 2: the rotation of a unit quaternion, z reversed if qfac says so. */
static void rotation_of_quaternion(const dm_grid *grid, double m[3][3])
{
    const double b = grid->quaternion[0], c = grid->quaternion[1], d = grid->quaternion[2];
    const double a = sqrt(fmax(0, 1 - (b * b + c * c + d * d)));
    const double qfac = grid->pixdim[0] < 0 ? -1 : 1;
    const double r[3][3] = {
        {a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
        {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
        {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c},
    };
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            m[i][j] = j == 2 ? qfac * r[i][j] : r[i][j];
}

/* The columns are the directions of the voxel axes, of length 1. */
static void voxel_axes(const dm_grid *grid, double m[3][3])
{
    memset(m, 0, 9 * sizeof m[0][0]);
    if (grid->sform_code <= 0 && grid->qform_code > 0) {
        rotation_of_quaternion(grid, m);
        return;
    }
    for (int j = 0; j < 3; j++) {
        double length = 0;
        for (int i = 0; i < 3; i++) {
            m[i][j] = grid->sform_code > 0 ? grid->sform[i][j] : i == j;
            length += m[i][j] * m[i][j];
        }
        for (int i = 0; i < 3; i++)
            m[i][j] /= sqrt(length);
    }
}

/* The orthogonal factor of the polar decomposition, by Newton's iteration: m <- (m + m^-T) / 2
 * (Higham 1986). It converges quadratically from any matrix that is not singular. */
static void nearest_rotation(double m[3][3])
{
    for (int step = 0; step < 50; step++) {
        const double det = determinant((const double(*)[3])m);
        double next[3][3], change = 0;
        for (int i = 0; i < 3; i++)
            for (int j = 0; j < 3; j++) {
                const int i1 = (i + 1) % 3, i2 = (i + 2) % 3, j1 = (j + 1) % 3, j2 = (j + 2) % 3;
                const double cofactor = m[i1][j1] * m[i2][j2] - m[i1][j2] * m[i2][j1];
                next[i][j] = (m[i][j] + cofactor / det) / 2;
                change = fmax(change, fabs(next[i][j] - m[i][j]));
            }
        memcpy(m, next, sizeof next);
        if (change < 1e-15)
            return;
    }
}

dm_status dm_grid_bvec_to_scanner(const dm_grid *grid, double rotation[3][3])
{
    if (!grid || !rotation)
        return dmi_error(DM_ERR_INVALID, "scanner axes: a NULL argument; give a grid");
    double m[3][3];
    voxel_axes(grid, m);
    const double det = determinant((const double(*)[3])m);
    if (!(fabs(det) > 1e-6)) /* of unit columns; also NaN */
        return dmi_error(DM_ERR_INVALID,
                         "scanner axes: the affine's determinant is %g after scaling; an image "
                         "whose header says where its voxels lie is needed",
                         det);
    nearest_rotation(m);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            rotation[i][j] = j == 0 && det > 0 ? -m[i][j] : m[i][j];
    return DM_OK;
}
