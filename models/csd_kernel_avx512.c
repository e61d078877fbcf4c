/*
 * csd_kernel_avx512.c - the CSD kernel in registers of eight doubles. Compiled for x86-64-v4 (see
 * cmake/compile.cmake), so nothing of it may run before dmi_isa_best has been asked.
 */
#include "models/csd_kernel.h"

#if defined(__AVX512F__) && defined(__AVX512DQ__)

#include <assert.h>
#include <immintrin.h>

enum { LANES = 8, BLOCKS = 3, DIRECTIONS = 24 };
#define TILES_ABOVE_3(call)

typedef double vec __attribute__((vector_size(64), may_alias));

static inline __attribute__((always_inline)) vec splat(double x)
{
    return (vec){x, x, x, x, x, x, x, x};
}

/* Of pairs of registers i and i + step, the even and the odd groups of `step` lanes. */
#define TRANSPOSE_STEP(v, step, even, odd)                                                         \
    for (int i = 0; i < LANES; i++)                                                                \
        if (!(i & (step))) {                                                                       \
            const vec a = (v)[i], b = (v)[i + (step)];                                             \
            (v)[i] = __builtin_shufflevector(a, b, even);                                          \
            (v)[i + (step)] = __builtin_shufflevector(a, b, odd);                                  \
        }
#define LANES_OF(...) __VA_ARGS__

static inline __attribute__((always_inline)) void transpose(vec v[LANES])
{
    TRANSPOSE_STEP(v, 1, LANES_OF(0, 8, 2, 10, 4, 12, 6, 14), LANES_OF(1, 9, 3, 11, 5, 13, 7, 15))
    TRANSPOSE_STEP(v, 2, LANES_OF(0, 1, 8, 9, 4, 5, 12, 13), LANES_OF(2, 3, 10, 11, 6, 7, 14, 15))
    TRANSPOSE_STEP(v, 4, LANES_OF(0, 1, 2, 3, 8, 9, 10, 11), LANES_OF(4, 5, 6, 7, 12, 13, 14, 15))
}

/* v in the lanes before i, zero from it on. */
static inline __attribute__((always_inline)) vec before(int i, vec v)
{
    return (vec)_mm512_maskz_mov_pd((__mmask8)((1 << i) - 1), (__m512d)v);
}

static inline __attribute__((always_inline)) unsigned bits_below(vec v, vec threshold)
{
    return _mm512_cmp_pd_mask((__m512d)v, (__m512d)threshold, _CMP_LT_OQ);
}

#include "models/csd_kernel_body.h"

const dmi_csd_kernel dmi_csd_kernel_avx512 = CSD_KERNEL;

#endif
