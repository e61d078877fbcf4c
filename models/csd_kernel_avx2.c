/*
 * csd_kernel_avx2.c - the CSD kernel in registers of four doubles. Compiled for x86-64-v3 (see
 * cmake/compile.cmake), so nothing of it may run before dmi_isa_best has been asked.
 */
#include "models/csd_kernel.h"

#if defined(__AVX2__) && defined(__FMA__)

#include <assert.h>
#include <immintrin.h>

enum { LANES = 4, BLOCKS = 3, DIRECTIONS = 12 };
#define TILES_ABOVE_3(call)

typedef double vec __attribute__((vector_size(32), may_alias));

static inline __attribute__((always_inline)) vec splat(double x)
{
    return (vec){x, x, x, x};
}

static inline __attribute__((always_inline)) void transpose(vec v[LANES])
{
    const vec a = __builtin_shufflevector(v[0], v[1], 0, 4, 2, 6);
    const vec b = __builtin_shufflevector(v[0], v[1], 1, 5, 3, 7);
    const vec c = __builtin_shufflevector(v[2], v[3], 0, 4, 2, 6);
    const vec d = __builtin_shufflevector(v[2], v[3], 1, 5, 3, 7);
    v[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    v[2] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    v[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* v in the lanes before i, zero from it on. */
static inline __attribute__((always_inline)) vec before(int i, vec v)
{
    typedef long long integers __attribute__((vector_size(32)));
    const integers lane = {0, 1, 2, 3}, keep = lane < i;
    return (vec)((integers)v & keep);
}

static inline __attribute__((always_inline)) unsigned bits_below(vec v, vec threshold)
{
    return (unsigned)_mm256_movemask_pd(_mm256_cmp_pd((__m256d)v, (__m256d)threshold, _CMP_LT_OQ));
}

#include "models/csd_kernel_body.h"

const dmi_csd_kernel dmi_csd_kernel_avx2 = CSD_KERNEL;

#endif
