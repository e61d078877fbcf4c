/*
 * sum.c - xxHash, compiled for AVX2 where there is that (47 GB/s), else sum_plain.c.
 */
#include "objectstore/sum.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC target("avx2")
#define XXH_INLINE_ALL
#include <xxhash.h>
static uint64_t sum_avx2(const void *bytes, size_t count, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, count, seed);
}
#pragma GCC pop_options

uint64_t dmi_sum(const void *bytes, size_t count, uint64_t seed)
{
    return __builtin_cpu_supports("avx2") ? sum_avx2(bytes, count, seed)
                                          : dmi_sum_plain(bytes, count, seed);
}
#else
uint64_t dmi_sum(const void *bytes, size_t count, uint64_t seed)
{
    return dmi_sum_plain(bytes, count, seed);
}
#endif
