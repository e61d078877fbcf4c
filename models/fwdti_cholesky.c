/*
 * fwdti_cholesky.c - a diffusion tensor by its Cholesky factors (Koay et al. 2006): D = U^T U, which
 * has no negative eigenvalue whatever the factors are, with
 *
 *         | R0  R3  R5 |      Dxx = R0^2     Dyy = R1^2 + R3^2     Dzz = R2^2 + R4^2 + R5^2
 *     U = |  0  R1  R4 |      Dxy = R0 R3    Dyz = R1 R4 + R3 R5
 *         |  0   0  R2 |      Dxz = R0 R5
 */
#include "models/fwdti.h"

#include <math.h>
#include <string.h>

enum { TENSOR = DMI_FWDTI_TENSOR, UNKNOWNS = DMI_FWDTI_UNKNOWNS, XX = 0, XY, YY, XZ, YZ, ZZ };

/*
 * mm2/s. A start clipped at 0 has pivots that are 0 give or take rounding, and a factor that begins
 * at 0 stays there, because D's derivative by it is 0. So no pivot begins below this, a hundredth of
 * what tissue has.
 */
static const double LEAST_PIVOT = 1e-5;

void dmi_fwdti_from_cholesky(const double r[TENSOR], double tensor[TENSOR])
{
    tensor[XX] = r[0] * r[0];
    tensor[XY] = r[0] * r[3];
    tensor[YY] = r[1] * r[1] + r[3] * r[3];
    tensor[XZ] = r[0] * r[5];
    tensor[YZ] = r[1] * r[4] + r[3] * r[5];
    tensor[ZZ] = r[2] * r[2] + r[4] * r[4] + r[5] * r[5];
}

static double pivot_root(double pivot)
{
    return sqrt(fmax(pivot, LEAST_PIVOT));
}

void dmi_fwdti_to_cholesky(const double tensor[TENSOR], double r[TENSOR])
{
    r[0] = pivot_root(tensor[XX]);
    r[3] = tensor[XY] / r[0];
    r[1] = pivot_root(tensor[YY] - r[3] * r[3]);
    r[5] = tensor[XZ] / r[0];
    r[4] = (tensor[YZ] - r[3] * r[5]) / r[1];
    r[2] = pivot_root(tensor[ZZ] - r[4] * r[4] - r[5] * r[5]);
}

/* T = dD/dR, by rows of D. */
static void derive(const double r[TENSOR], double t[TENSOR][TENSOR])
{
    memset(t, 0, TENSOR * sizeof *t);
    t[XX][0] = 2 * r[0];
    t[XY][0] = r[3], t[XY][3] = r[0];
    t[YY][1] = 2 * r[1], t[YY][3] = 2 * r[3];
    t[XZ][0] = r[5], t[XZ][5] = r[0];
    t[YZ][1] = r[4], t[YZ][4] = r[1], t[YZ][3] = r[5], t[YZ][5] = r[3];
    t[ZZ][2] = 2 * r[2], t[ZZ][4] = 2 * r[4], t[ZZ][5] = 2 * r[5];
}

/* row T, in place. */
static void chain(const double t[TENSOR][TENSOR], double row[TENSOR])
{
    double by_r[TENSOR] = {0};
    for (int j = 0; j < TENSOR; j++)
        for (int k = 0; k < TENSOR; k++)
            by_r[k] += row[j] * t[j][k];
    memcpy(row, by_r, sizeof by_r);
}

/* T^T H T, T^T of what the tensor has with the others, and T^T g. */
void dmi_fwdti_by_cholesky(const double r[TENSOR], dmi_fwdti_normal *normal)
{
    double t[TENSOR][TENSOR], half[TENSOR][TENSOR];
    derive(r, t);
    for (int j = 0; j < TENSOR; j++)
        for (int k = 0; k <= j; k++)
            half[j][k] = half[k][j] = normal->h[j][k];
    for (int j = 0; j < TENSOR; j++)
        chain(t, half[j]);
    for (int k = 0; k < TENSOR; k++) {
        double column[TENSOR];
        for (int j = 0; j < TENSOR; j++)
            column[j] = half[j][k];
        chain(t, column);
        for (int j = k; j < TENSOR; j++)
            normal->h[j][k] = column[j];
    }
    for (int j = TENSOR; j < UNKNOWNS; j++)
        chain(t, normal->h[j]);
    chain(t, normal->g);
}
