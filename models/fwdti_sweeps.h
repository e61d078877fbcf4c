/*
 * fwdti_sweeps.h - the sums over volumes of the free-water fit, in vectors of LANES volumes.
 *
 * Included once by each of fwdti_plain.c, fwdti_avx2.c and fwdti_avx512.c, which say what LANES is
 * and for which processor, and give `sweeps` a name. One voxel at a time: nothing here can mix two.
 */
#ifndef DM_MODELS_FWDTI_SWEEPS_H
#define DM_MODELS_FWDTI_SWEEPS_H

#include "models/fwdti.h"
#include "models/lanes.h"

enum { TENSOR = DMI_FWDTI_TENSOR, LINEAR = DMI_FWDTI_LINEAR, UNKNOWNS = DMI_FWDTI_UNKNOWNS };

/* Sums of products of columns j >= k of a triangle: where (j, k) stands, and how many there are, to
 * the next eight. */
#define TRIANGLE(j, k) ((j) * ((j) + 1) / 2 + (k))
enum { PRODUCTS = 24 };

static inline void product_sums(const lanes products[PRODUCTS], double sums[PRODUCTS])
{
    for (int k = 0; k < PRODUCTS; k += 8)
        lanes_sums(products + k, sums + k);
}

/* W_i . p of the volumes from i on, where `start` is the part of it that does not depend on i. */
static inline lanes tissue_exponent(const dm_fwdti *m, size_t i, const double *p, double start)
{
    lanes even = lanes_load(m->w[0] + i) * p[0] + start, odd = lanes_load(m->w[1] + i) * p[1];
    even += lanes_load(m->w[2] + i) * p[2];
    odd += lanes_load(m->w[3] + i) * p[3];
    even += lanes_load(m->w[4] + i) * p[4];
    odd += lanes_load(m->w[5] + i) * p[5];
    return even + odd;
}

/* x without what stands in the padding, which only the last vectors can have. */
static inline lanes only_present(const dm_fwdti *m, size_t i, lanes x)
{
    if (i + LANES > m->n)
        x *= lanes_load(m->present + i);
    return x;
}

static void weigh(const dm_fwdti *m, dm_fwdti_workspace *w, double gram[LINEAR][LINEAR], double *z)
{
    const lanes least = lanes_all(m->settings.min_signal);
    lanes products[PRODUCTS] = {0}, ones[UNKNOWNS] = {0}, logs[UNKNOWNS] = {0};
    double sums[PRODUCTS];
    for (size_t i = 0; i < m->padded; i += LANES) {
        const lanes s = lanes_load(w->s + i), q = s * s;
        const lanes y = q * lanes_log(lanes_at_least(s, least));
        lanes_store(w->q + i, q);
#pragma GCC unroll 8
        for (int j = 0; j < TENSOR; j++) {
            const lanes wj = lanes_load(m->w[j] + i), qwj = q * wj;
#pragma GCC unroll 8
            for (int k = 0; k <= j; k++)
                products[TRIANGLE(j, k)] += qwj * lanes_load(m->w[k] + i);
            ones[j] += qwj;
            logs[j] += wj * y;
        }
        ones[TENSOR] -= q;
        logs[TENSOR] -= y;
    }
    product_sums(products, sums);
    lanes_sums(ones, w->ones);
    lanes_sums(logs, z);
    for (int j = 0; j < TENSOR; j++)
        for (int k = 0; k <= j; k++)
            gram[j][k] = sums[TRIANGLE(j, k)];
    /* The last column of W is -1. */
    for (int j = 0; j < LINEAR; j++)
        gram[TENSOR][j] = -w->ones[j];
}

/* Vectors from volume i on, up to a strip. */
static inline size_t strip_length(const dm_fwdti *m, size_t i)
{
    const size_t left = (m->padded - i) / LANES;
    return LANES_STRIP == 1      ? 1
           : left < LANES_STRIP ? left
                                : LANES_STRIP;
}

/* z = W^T q ln t, where t is what the water leaves of the signal. */
static inline void regress(const dm_fwdti *m, const dm_fwdti_workspace *w, double fs0, double *z)
{
    const lanes least = lanes_all(m->settings.min_signal);
    lanes sums[UNKNOWNS] = {0}, y[LANES_STRIP];
    for (size_t i = 0; i < m->padded; i += LANES_STRIP * LANES) {
        const size_t n = strip_length(m, i);
        for (size_t k = 0; k < n; k++)
            y[k] = lanes_positive_or(lanes_load(w->s + i + k * LANES) -
                                         fs0 * lanes_load(m->water + i + k * LANES),
                                     least);
        lanes_logs(n, y);
        for (size_t k = 0; k < n; k++) {
            const lanes qy = y[k] * lanes_load(w->q + i + k * LANES);
#pragma GCC unroll 8
            for (int j = 0; j < TENSOR; j++)
                sums[j] += lanes_load(m->w[j] + i + k * LANES) * qy;
            sums[TENSOR] -= qy;
        }
    }
    lanes_sums(sums, z);
}

/* The sum of squares of t - exp(W p + start). */
static inline double misfit(const dm_fwdti *m, const dm_fwdti_workspace *w, double fs0,
                            const double *p, double start)
{
    lanes sum = lanes_all(0), tissue[LANES_STRIP];
    for (size_t i = 0; i < m->padded; i += LANES_STRIP * LANES) {
        const size_t n = strip_length(m, i);
        for (size_t k = 0; k < n; k++)
            tissue[k] = tissue_exponent(m, i + k * LANES, p, start);
        lanes_exps(n, tissue);
        for (size_t k = 0; k < n; k++) {
            const size_t at = i + k * LANES;
            const lanes t = lanes_load(w->s + at) - fs0 * lanes_load(m->water + at);
            const lanes r = t - only_present(m, at, tissue[k]);
            sum += r * r;
        }
    }
    return lanes_sum(sum);
}

static double try_f(const dm_fwdti *m, const dm_fwdti_workspace *w, double f, double *p)
{
    const double fs0 = f * w->s0, ln_tissue = lanes_log(lanes_all(1 - f))[0];
    double z[UNKNOWNS];
    regress(m, w, fs0, z);
    /* The logarithm to be fitted is ln(t / (1 - f)); its constant part is a multiple of `ones`. */
    for (int j = 0; j < LINEAR; j++)
        z[j] -= ln_tissue * w->ones[j];
    for (int k = 0; k < UNKNOWNS; k += LANES) {
        lanes sum = lanes_load(&w->inverse[0][k]) * z[0];
        for (int j = 1; j < LINEAR; j++)
            sum += lanes_load(&w->inverse[j][k]) * z[j];
        lanes_store(p + k, sum);
    }
    return misfit(m, w, fs0, p, ln_tissue - p[TENSOR]);
}

static bool runs_dry(const dm_fwdti *m, const dm_fwdti_workspace *w, double low, double high)
{
    const double low_s0 = low * w->s0, high_s0 = high * w->s0;
    lanes_bits any = {0};
    for (size_t i = 0; i < m->padded; i += LANES) {
        const lanes s = lanes_load(w->s + i), water = lanes_load(m->water + i);
        any |= (lanes_bits)(s > low_s0 * water) & (lanes_bits)(s <= high_s0 * water);
    }
    for (int k = 0; k < LANES; k++)
        if (any[k])
            return true;
    return false;
}

static void residuals(const dm_fwdti *m, const dm_fwdti_workspace *w, dmi_fwdti_point *at)
{
    const double tissue = 1 - at->f;
    const double water = at->f * lanes_exp(lanes_all(-at->x[TENSOR]))[0];
    lanes sum = lanes_all(0);
    for (size_t i = 0; i < m->padded; i += LANES) {
        const lanes t = only_present(m, i, lanes_exp(tissue_exponent(m, i, at->x, -at->x[TENSOR])));
        const lanes r = lanes_load(w->s + i) - water * lanes_load(m->water + i) - tissue * t;
        lanes_store(at->t + i, t);
        lanes_store(at->r + i, r);
        sum += r * r;
    }
    at->squares = lanes_sum(sum);
}

/*
 * The derivatives of r are, with a = (1 - f) t and u the water's signal with f = 1,
 *   by x0..5: -a W_j          by x6: a + f u          by x7: (t - u) df/dx7
 * First the products of the tensor's columns with each other, then all others: together they would
 * not fit the registers.
 */
static inline void derive_tensor(const dm_fwdti *m, const dmi_fwdti_point *at,
                                 dmi_fwdti_normal *normal)
{
    lanes products[PRODUCTS] = {0};
    double sums[PRODUCTS];
    for (size_t i = 0; i < m->padded; i += LANES) {
        const lanes a = lanes_load(at->t + i), a2 = a * a;
#pragma GCC unroll 8
        for (int j = 0; j < TENSOR; j++) {
            const lanes wj = a2 * lanes_load(m->w[j] + i);
#pragma GCC unroll 8
            for (int k = 0; k <= j; k++)
                products[TRIANGLE(j, k)] += wj * lanes_load(m->w[k] + i);
        }
    }
    const double scale = (1 - at->f) * (1 - at->f);
    product_sums(products, sums);
    for (int j = 0; j < TENSOR; j++)
        for (int k = 0; k <= j; k++)
            normal->h[j][k] = scale * sums[TRIANGLE(j, k)];
}

static inline void derive_rest(const dm_fwdti *m, const dmi_fwdti_point *at,
                               dmi_fwdti_normal *normal)
{
    const double tissue = 1 - at->f, s0 = lanes_exp(lanes_all(-at->x[TENSOR]))[0];
    lanes by6[UNKNOWNS] = {0}, by7[UNKNOWNS] = {0}, by_r[UNKNOWNS] = {0};
    for (size_t i = 0; i < m->padded; i += LANES) {
        const lanes t = lanes_load(at->t + i), r = lanes_load(at->r + i), a = tissue * t;
        const lanes u = s0 * lanes_load(m->water + i);
        const lanes j6 = a + at->f * u, j7 = (t - u) * at->slope;
        const lanes a6 = a * j6, a7 = a * j7, ar = a * r;
#pragma GCC unroll 8
        for (int j = 0; j < TENSOR; j++) {
            const lanes wj = lanes_load(m->w[j] + i);
            by6[j] -= wj * a6;
            by7[j] -= wj * a7;
            by_r[j] -= wj * ar;
        }
        by6[6] += j6 * j6;
        by7[6] += j6 * j7;
        by7[7] += j7 * j7;
        by_r[6] += j6 * r;
        by_r[7] += j7 * r;
    }
    lanes_sums(by6, normal->h[6]);
    lanes_sums(by7, normal->h[7]);
    lanes_sums(by_r, normal->g);
}

static void derivatives(const dm_fwdti *m, const dmi_fwdti_point *at, dmi_fwdti_normal *normal)
{
    derive_tensor(m, at, normal);
    derive_rest(m, at, normal);
}

static void functions(const double *x, double *exponentials, double *logarithms)
{
    for (int k = 0; k < UNKNOWNS; k += LANES) {
        lanes_store(exponentials + k, lanes_exp(lanes_load(x + k)));
        lanes_store(logarithms + k, lanes_log(lanes_load(x + k)));
    }
}

#define SWEEPS                                                                                     \
    {                                                                                              \
        weigh, try_f, runs_dry, residuals, derivatives, functions                                            \
    }

#endif
