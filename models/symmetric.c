/*
 * symmetric.c - see symmetric.h. Golub and Van Loan, Matrix Computations, sections 4.1 (L D L^T) and
 * 8.5 (Jacobi).
 */
#include "models/symmetric.h"

#include <math.h>
#include <stddef.h>

enum { MOST = DMI_SYMMETRIC_MOST };

bool dmi_symmetric_factor(int n, int stride, const double *a, double shift, double least,
                          dmi_factor *factor)
{
    double d[MOST];
    factor->n = n;
    for (int j = 0; j < n; j++) {
        double *lj = factor->l[j];
        const double diagonal = a[j * stride + j] + shift;
        double pivot = diagonal;
        for (int k = 0; k < j; k++) {
            double ld = a[j * stride + k]; /* L_jk D_k */
            for (int i = 0; i < k; i++)
                ld -= lj[i] * d[i] * factor->l[k][i];
            lj[k] = ld * factor->inverse_d[k];
            pivot -= lj[k] * ld;
        }
        if (!(pivot > least * diagonal && pivot > 0 && isfinite(pivot)))
            return false;
        d[j] = pivot;
        factor->inverse_d[j] = 1 / pivot;
    }
    return true;
}

/* x becomes L^-1 x. */
static void forward(const dmi_factor *factor, double *x)
{
    for (int j = 1; j < factor->n; j++)
        for (int k = 0; k < j; k++)
            x[j] -= factor->l[j][k] * x[k];
}

void dmi_factor_solve(const dmi_factor *factor, double *x)
{
    forward(factor, x);
    for (int j = 0; j < factor->n; j++)
        x[j] *= factor->inverse_d[j];
    for (int j = factor->n - 1; j > 0; j--)
        for (int k = 0; k < j; k++)
            x[k] -= factor->l[j][k] * x[j];
}

double dmi_factor_inverse_form(const dmi_factor *factor, const double *x)
{
    double y[MOST], sum = 0;
    for (int j = 0; j < factor->n; j++)
        y[j] = x[j];
    forward(factor, y);
    for (int j = 0; j < factor->n; j++)
        sum += y[j] * y[j] * factor->inverse_d[j];
    return sum;
}

/* ---- eigenvalues ---- */

/* Rotates rows and columns p < q of A so that A_pq becomes 0, and the columns of V along. */
static void rotate(int n, double a[MOST][MOST], double v[MOST][MOST], int p, int q)
{
    const double apq = a[p][q], theta = (a[q][q] - a[p][p]) / (2 * apq);
    const double t = copysign(1, theta) / (fabs(theta) + sqrt(theta * theta + 1));
    const double c = 1 / sqrt(t * t + 1), s = t * c;
    a[p][p] -= t * apq;
    a[q][q] += t * apq;
    a[p][q] = a[q][p] = 0;
    for (int k = 0; k < n; k++) {
        if (k != p && k != q) {
            const double akp = a[k][p], akq = a[k][q];
            a[k][p] = a[p][k] = c * akp - s * akq;
            a[k][q] = a[q][k] = s * akp + c * akq;
        }
        const double vkp = v[k][p], vkq = v[k][q];
        v[k][p] = c * vkp - s * vkq;
        v[k][q] = s * vkp + c * vkq;
    }
}

/* Whether A_pq does not show beside the diagonal. NaN never does not. */
static bool negligible(double a[MOST][MOST], int p, int q)
{
    return fabs(a[p][q]) <= 0x1p-56 * sqrt(fabs(a[p][p]) * fabs(a[q][q])) ||
           fabs(a[p][q]) <= 0x1p-60 * (fabs(a[p][p]) + fabs(a[q][q]));
}

/* Diagonal to the last bit after some four sweeps. False if it is not after many. */
static bool diagonalise(int n, double a[MOST][MOST], double v[MOST][MOST])
{
    enum { MOST_SWEEPS = 50 };
    for (int sweep = 0; sweep < MOST_SWEEPS; sweep++) {
        bool rested = true;
        for (int p = 0; p < n; p++) {
            for (int q = p + 1; q < n; q++) {
                if (negligible(a, p, q))
                    continue;
                rested = false;
                rotate(n, a, v, p, q);
            }
        }
        if (rested)
            return true;
    }
    return false;
}

/* The place of the greatest diagonal element that is not `taken` yet. */
static int next_greatest(int n, double a[MOST][MOST], bool *taken)
{
    int best = -1;
    for (int k = 0; k < n; k++)
        if (!taken[k] && (best < 0 || a[k][k] > a[best][best]))
            best = k;
    taken[best] = true;
    return best;
}

bool dmi_symmetric_eigen(int n, int stride, const double *matrix, double *values, double *vectors)
{
    double a[MOST][MOST], v[MOST][MOST] = {{0}};
    bool taken[MOST] = {false};
    for (int j = 0; j < n; j++) {
        v[j][j] = 1;
        for (int k = 0; k <= j; k++) {
            a[j][k] = a[k][j] = matrix[j * stride + k];
            if (!isfinite(a[j][k]))
                return false;
        }
    }
    if (!diagonalise(n, a, v))
        return false;
    for (int k = 0; k < n; k++) {
        const int from = next_greatest(n, a, taken);
        values[k] = a[from][from];
        for (int j = 0; j < n; j++)
            vectors[j * n + k] = v[j][from];
    }
    return true;
}

bool dmi_symmetric_pseudo_inverse(int n, int stride, const double *a, double cutoff,
                                  double *inverse)
{
    double values[MOST], vectors[MOST * MOST], largest = 0;
    if (!dmi_symmetric_eigen(n, stride, a, values, vectors))
        return false;
    for (int k = 0; k < n; k++)
        largest = fmax(largest, fabs(values[k]));
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int k = 0; k < n; k++)
                if (fabs(values[k]) > cutoff * largest)
                    sum += vectors[i * n + k] * vectors[j * n + k] / values[k];
            inverse[i * n + j] = sum;
        }
    }
    return true;
}
