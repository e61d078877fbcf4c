/*
 * lanes.h - vectors of doubles for one file, LANES wide, with exp, log and sums.
 *
 * A file that includes this says before how many LANES there are (2, 4 or 8) and, with a target
 * pragma, for which processor; see isa.h. Lanes never meet except in lanes_sum, so what one holds
 * does not depend on its neighbours.
 *
 * exp and log are good to about 1 unit in the last place (test_models_lanes), for the arguments
 * that fits have: there is no case for each that IEEE 754 knows. The polynomials are near-minimax,
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

/* 1.5 * 2^52: added to a number below 2^51, it leaves the nearest integer in the lowest bits. */
#define LANES_ROUND 0x1.8p52
#define LANES_LN2_HIGH 0x1.62e42p-1 /* few enough bits to be exact times any exponent */
#define LANES_LN2_LOW 0x1.fdf473de6af28p-22
#define LANES_LOG2E 0x1.71547652b82fep+0

/*
 * e^x, with x kept in -708 .. 709 (3e-308 .. 8e307). NaN stays. x = k ln 2 + r, |r| <= ln 2 / 2;
 * e^r = 1 + r + r^2 g(r), error of the polynomial 1.3e-17.
 */
static inline lanes lanes_exp(lanes x)
{
    x = lanes_choose((lanes_bits)(x < lanes_all(-708)), lanes_all(-708), x);
    x = lanes_choose((lanes_bits)(x > lanes_all(709)), lanes_all(709), x);
    const lanes shifted = x * LANES_LOG2E + LANES_ROUND, k = shifted - LANES_ROUND;
    const lanes r = (x - k * LANES_LN2_HIGH) - k * LANES_LN2_LOW, r2 = r * r;
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

/*
 * ln x of a normal positive number; of anything else, something. x = 2^k m, sqrt(1/2) <= m <
 * sqrt(2); with s = (m - 1) / (m + 1), ln m = 2 s + s^3 P(s^2), error of the polynomial 1.6e-18.
 */
static inline lanes lanes_log(lanes x)
{
    const uint64_t one = 0x3ff0000000000000, sqrt_half = 0x3fe6a09e667f3bcd;
    const lanes_bits bits = (lanes_bits)x + (one - sqrt_half);
    const lanes_bits exponent = bits >> 52;
    const lanes k = (lanes)(exponent | 0x4330000000000000) - (0x1p52 + 1023);
    const lanes m = (lanes)((bits & 0x000fffffffffffff) + sqrt_half);
    const lanes s = (m - 1) / (m + 1), z = s * s;
    lanes p = z * 0x1.2b584aae78a57p-3 + 0x1.39fe606542ddep-3;
    p = p * z + 0x1.7462b4ab2ef6bp-3;
    p = p * z + 0x1.c71c62e5800a1p-3;
    p = p * z + 0x1.2492492df148dp-2;
    p = p * z + 0x1.99999999952e2p-2;
    p = p * z + 0x1.5555555555558p-1;
    return k * LANES_LN2_HIGH + (2 * s + (s * (z * p) + k * LANES_LN2_LOW));
}

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

#endif
