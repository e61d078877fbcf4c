/*
 * sum_plain.c - xxHash for any CPU (SSE2 on x86, 16 GB/s). From its header: a library less to load in every worker.
 */
#include "objectstore/sum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t dmi_sum_plain(const void *bytes, size_t count, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, count, seed);
}
