/*
 * sum.h - the checksum of spilled bytes: XXH3, 64 bits, with the widest vectors that this CPU has.
 *
 * `seed` chains: the sum of a part is that of its last block with the sum of the blocks before as seed, so that
 * a block is summed while it is in the cache. Pure; any thread. Every path gives the same sum.
 */
#ifndef DMI_SUM_H
#define DMI_SUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t dmi_sum(const void *bytes, size_t count, uint64_t seed);

/* The path that runs everywhere, for tests. */
uint64_t dmi_sum_plain(const void *bytes, size_t count, uint64_t seed);

#endif
