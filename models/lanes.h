/*
 * lanes.h - vectors of doubles for one file, LANES wide, with exp, log and sums.
 *
 * A file that includes this says before how many LANES there are (2, 4 or 8) and, with a target
 * pragma, for which processor; see isa.h. Lanes never meet except in lanes_sum, so what one holds
 * does not depend on its neighbours.
 *
 * exp is good to about 1 unit in the last place; log, too, or, near 1, to 2^-52 (test_models_lanes).
 * They are for the arguments that fits have, without a case for each that IEEE 754 knows. The
 * polynomials are near-minimax,
 * from Chebyshev series in 60 digits; the greatest error of each as it stands is beside it.
 */
#ifndef DM_MODELS_LANES_H
#define DM_MODELS_LANES_H

#include <stddef.h>
#include <stdint.h>

#if LANES == 8 && defined(__AVX512F__)
#define LANES_AVX512 1
#include <immintrin.h>
#else
#define LANES_AVX512 0
#endif

typedef double lanes __attribute__((vector_size(8 * LANES), may_alias));
typedef uint64_t lanes_bits __attribute__((vector_size(8 * LANES), may_alias));

static inline lanes lanes_load(const double *from)
{
    return *(const lanes *)from;
}

static inline void lanes_store(double *to, lanes x)
{
    *(lanes *)to = x;
}

/* The same number in all lanes. Not x + 0, which would turn -0 into 0. */
static inline lanes lanes_all(double x)
{
#if LANES == 8
    return (lanes){x, x, x, x, x, x, x, x};
#elif LANES == 4
    return (lanes){x, x, x, x};
#else
    return (lanes){x, x};
#endif
}

/* a where the bits of `mask` are set, b where they are not. */
static inline lanes lanes_choose(lanes_bits mask, lanes a, lanes b)
{
    return (lanes)((mask & (lanes_bits)a) | (~mask & (lanes_bits)b));
}

/* x where it is above 0, `least` elsewhere. */
static inline lanes lanes_positive_or(lanes x, lanes least)
{
#if LANES_AVX512
    return (lanes)_mm512_mask_blend_pd(
        _mm512_cmp_pd_mask((__m512d)x, _mm512_setzero_pd(), _CMP_GT_OQ), (__m512d)least,
        (__m512d)x);
#else
    return lanes_choose((lanes_bits)(x > lanes_all(0)), x, least);
#endif
}

/* The greater; `least` where x is NaN. */
static inline lanes lanes_at_least(lanes x, lanes least)
{
#if LANES_AVX512
    return (lanes)_mm512_max_pd((__m512d)x, (__m512d)least);
#else
    return lanes_choose((lanes_bits)(x > least), x, least);
#endif
}

/* x kept in -708 .. 709, where e^x is 3e-308 .. 8e307; NaN stays. */
static inline lanes lanes_exponent(lanes x)
{
#if LANES_AVX512
    return (lanes)_mm512_min_pd(_mm512_set1_pd(709),
                                _mm512_max_pd(_mm512_set1_pd(-708), (__m512d)x));
#else
    x = lanes_choose((lanes_bits)(x < lanes_all(-708)), lanes_all(-708), x);
    return lanes_choose((lanes_bits)(x > lanes_all(709)), lanes_all(709), x);
#endif
}

/*
 * lanes_exps and lanes_logs take up to so many vectors, each the same as alone. In steps: from its argument to its
 * result a vector waits for some twenty operations, one for the other, and a processor does not look far enough ahead
 * to have many vectors under way; of a step it has all. With AVX-512 there are few operations, and a vector alone is a strip.
 */
enum { LANES_STRIP = LANES_AVX512 ? 1 : 8 };

/* 1.5 * 2^52: added to a number below 2^51, it leaves the nearest integer in the lowest bits. */
#define LANES_ROUND 0x1.8p52

#if LANES_AVX512

/* From a table of 16 numbers, those that the lowest four bits of `at` name. */
static inline lanes lanes_table(const double table[16], lanes_bits at)
{
    return (lanes)_mm512_permutex2var_pd(_mm512_loadu_pd(table), (__m512i)at,
                                         _mm512_loadu_pd(table + 8));
}

/*
 * e^x, with x kept in -708 .. 709. 16 x / ln 2 = k + rest, so x = k ln 2 / 16 + r, |r| <= ln 2 / 32,
 * and e^r = 1 + r + r^2 g(r), error of the polynomial 2.8e-17. The table has the bits of 2^(j / 16)
 * less j << 48: adding k << 48 then leaves 2^(k / 16), j being the lowest four bits of k.
 */
static inline lanes lanes_exp(lanes x)
{
    static const uint64_t roots[16] = {
        0x3ff0000000000000, 0x3fefb5586cf9890f, 0x3fef72b83c7d517b, 0x3fef387a6e756238,
        0x3fef06fe0a31b715, 0x3feedea64c123422, 0x3feebfdad5362a27, 0x3feeab07dd485429,
        0x3feea09e667f3bcd, 0x3feea11473eb0187, 0x3feeace5422aa0db, 0x3feec49182a3f090,
        0x3feee89f995ad3ad, 0x3fef199bdd85529c, 0x3fef5818dcfba487, 0x3fefa4afa2a490da};
    x = lanes_exponent(x);
    const lanes shifted = x * 0x1.71547652b82fep+4 + LANES_ROUND, k = shifted - LANES_ROUND;
    const lanes r = (x - k * 0x1.62e42fefp-5) - k * 0x1.473de6af278edp-38, r2 = r * r;
    lanes g = r * 0x1.6c17bb51f236dp-10 + 0x1.11120af701debp-7;
    g = g * r + 0x1.55555555194d2p-5;
    g = g * r + 0x1.55555554dd44dp-3;
    g = g * r + 0x1.0000000000000p-1;
    const lanes_bits root = (lanes_bits)lanes_table((const double *)roots, (lanes_bits)shifted);
    const lanes scale = (lanes)(root + ((lanes_bits)shifted << 48));
    return scale + scale * (r + r2 * g);
}

/*
 * ln x of a normal positive number; of anything else, something. x = 2^e m, 1 <= m < 2; with 1 / c
 * from a table by the first four bits of m behind the point, r = m / c - 1, |r| <= 1 / 33, and
 * ln m = ln c + r + r^2 g(r), error of the polynomial 6.8e-17.
 */
static inline lanes lanes_log(lanes x)
{
    static const double inverse[16] = {
        0x1.f07c1f07c1f08p-1, 0x1.d41d41d41d41dp-1, 0x1.bacf914c1bad0p-1, 0x1.a41a41a41a41ap-1,
        0x1.8f9c18f9c18fap-1, 0x1.7d05f417d05f4p-1, 0x1.6c16c16c16c17p-1, 0x1.5c9882b931057p-1,
        0x1.4e5e0a72f0539p-1, 0x1.4141414141414p-1, 0x1.3521cfb2b78c1p-1, 0x1.29e4129e4129ep-1,
        0x1.1f7047dc11f70p-1, 0x1.15b1e5f75270dp-1, 0x1.0c9714fbcda3bp-1, 0x1.0410410410410p-1};
    static const double ln_c[16] = {
        0x1.f829b0e7832f8p-6, 0x1.6f0d28ae56b4ep-4, 0x1.29552f81ff521p-3, 0x1.9525a9cf456b6p-3,
        0x1.fb9186d5e3e29p-3, 0x1.2e8e2bae11d31p-2, 0x1.5d1bdbf5809cap-2, 0x1.89a3386c1425bp-2,
        0x1.b44f77bcc8f64p-2, 0x1.dd46a04c1c4a1p-2, 0x1.02552a5a5d0ffp-1, 0x1.154c3d2f4d5eap-1,
        0x1.2795e1289b11bp-1, 0x1.393e0d3562a1ap-1, 0x1.4a4f85db03ebbp-1, 0x1.5ad404c359f2dp-1};
    const lanes e = (lanes)_mm512_getexp_pd((__m512d)x);
    const lanes m = (lanes)_mm512_getmant_pd((__m512d)x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
    const lanes_bits at = (lanes_bits)x >> 48;
    const lanes r = m * lanes_table(inverse, at) - 1, r2 = r * r;
    lanes g = r * -0x1.005f93d5239d9p-3 + 0x1.24fc7b165f8a9p-3;
    g = g * r - 0x1.555548994a526p-3;
    g = g * r + 0x1.99998b736c3e7p-3;
    g = g * r - 0x1.0000000036489p-2;
    g = g * r + 0x1.5555555591a58p-2;
    g = g * r - 0x1.0000000000000p-1;
    return e * 0x1.62e42fefa39efp-1 + (lanes_table(ln_c, at) + (r + r2 * g));
}

static inline void lanes_exps(size_t n, lanes *x)
{
    (void)n;
    *x = lanes_exp(*x);
}

static inline void lanes_logs(size_t n, lanes *x)
{
    (void)n;
    *x = lanes_log(*x);
}

#else

#define LANES_LN2_HIGH 0x1.62e42p-1 /* few enough bits to be exact times any exponent */
#define LANES_LN2_LOW  0x1.fdf473de6af28p-22
#define LANES_LOG2E    0x1.71547652b82fep+0

/*
 * e^x, with x kept in -708 .. 709. x = k ln 2 + r, |r| <= ln 2 / 2;
 * e^r = 1 + r + r^2 g(r), error of the polynomial 1.3e-17.
 */
static inline lanes lanes_exp_reduce(lanes x, lanes *shifted)
{
    x = lanes_exponent(x);
    *shifted = x * LANES_LOG2E + LANES_ROUND;
    const lanes k = *shifted - LANES_ROUND;
    return (x - k * LANES_LN2_HIGH) - k * LANES_LN2_LOW;
}

static inline lanes lanes_exp_reduced(lanes r, lanes shifted)
{
    const lanes r2 = r * r;
    lanes g = r * 0x1.af389ecfc4b9cp-26 + 0x1.28917c89a43a7p-22;
    g = g * r + 0x1.71de0db2f6b19p-19;
    g = g * r + 0x1.a019b9149a41cp-16;
    g = g * r + 0x1.a01a01a7c2efep-13;
    g = g * r + 0x1.6c16c17889ef1p-10;
    g = g * r + 0x1.11111111109b5p-7;
    g = g * r + 0x1.5555555553d68p-5;
    g = g * r + 0x1.5555555555556p-3;
    g = g * r + 0x1.0000000000001p-1;
    const lanes e = 1 + (r + r2 * g);
    return (lanes)((lanes_bits)e + ((lanes_bits)shifted << 52));
}

static inline lanes lanes_exp(lanes x)
{
    lanes shifted;
    const lanes r = lanes_exp_reduce(x, &shifted);
    return lanes_exp_reduced(r, shifted);
}

static inline void lanes_exps(size_t n, lanes *x)
{
    lanes shifted[LANES_STRIP];
    for (size_t i = 0; i < n; i++)
        x[i] = lanes_exp_reduce(x[i], &shifted[i]);
    for (size_t i = 0; i < n; i++)
        x[i] = lanes_exp_reduced(x[i], shifted[i]);
}

/*
 * ln x of a normal positive number; of anything else, something. x = 2^k m, sqrt(1/2) <= m <
 * sqrt(2); with s = (m - 1) / (m + 1), ln m = 2 s + s^3 P(s^2), error of the polynomial 1.6e-18.
 */
static inline lanes lanes_log_reduce(lanes x, lanes *k)
{
    const uint64_t one = 0x3ff0000000000000, sqrt_half = 0x3fe6a09e667f3bcd;
    const lanes_bits bits = (lanes_bits)x + (one - sqrt_half);
    const lanes_bits exponent = bits >> 52;
    *k = (lanes)(exponent | 0x4330000000000000) - (0x1p52 + 1023);
    const lanes m = (lanes)((bits & 0x000fffffffffffff) + sqrt_half);
    return (m - 1) / (m + 1);
}

static inline lanes lanes_log_reduced(lanes s, lanes k)
{
    const lanes z = s * s;
    lanes p = z * 0x1.2b584aae78a57p-3 + 0x1.39fe606542ddep-3;
    p = p * z + 0x1.7462b4ab2ef6bp-3;
    p = p * z + 0x1.c71c62e5800a1p-3;
    p = p * z + 0x1.2492492df148dp-2;
    p = p * z + 0x1.99999999952e2p-2;
    p = p * z + 0x1.5555555555558p-1;
    return k * LANES_LN2_HIGH + (2 * s + (s * (z * p) + k * LANES_LN2_LOW));
}

static inline lanes lanes_log(lanes x)
{
    lanes k;
    const lanes s = lanes_log_reduce(x, &k);
    return lanes_log_reduced(s, k);
}

static inline void lanes_logs(size_t n, lanes *x)
{
    lanes k[LANES_STRIP];
    for (size_t i = 0; i < n; i++)
        x[i] = lanes_log_reduce(x[i], &k[i]);
    for (size_t i = 0; i < n; i++)
        x[i] = lanes_log_reduced(x[i], k[i]);
}

#endif

/* The sum over the lanes. */
static inline double lanes_sum(lanes x)
{
#if LANES == 8
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
#elif LANES == 4
    return (x[0] + x[2]) + (x[1] + x[3]);
#else
    return x[0] + x[1];
#endif
}

/* The sums over the lanes of eight vectors. */
static inline void lanes_sums(const lanes x[8], double sums[8])
{
#if LANES_AVX512
    __m512d half[4];
    for (int k = 0; k < 4; k++) {
        const __m512d a = (__m512d)x[2 * k], b = (__m512d)x[2 * k + 1];
        half[k] = _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b));
    }
    for (int k = 0; k < 2; k++) {
        const __m512d a = half[2 * k], b = half[2 * k + 1];
        half[k] = _mm512_add_pd(_mm512_shuffle_f64x2(a, b, 0x88), _mm512_shuffle_f64x2(a, b, 0xdd));
    }
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_shuffle_f64x2(half[0], half[1], 0x88),
                                         _mm512_shuffle_f64x2(half[0], half[1], 0xdd)));
#else
    for (int k = 0; k < 8; k++)
        sums[k] = lanes_sum(x[k]);
#endif
}

#endif
