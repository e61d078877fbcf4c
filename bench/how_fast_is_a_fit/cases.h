/*
 * cases.h - what every contestant does here: CSD of one data set. A case is called as its set.
 */
#ifndef BENCH_FIT_CASES_H
#define BENCH_FIT_CASES_H

#include <stdint.h>

enum {
    LMAX = 8,
    AT_LEAST_NS = 300000000 /* crops are small: they are fitted again until this long is timed */
};

static const char question[] = "how_fast_is_a_fit";

/* How near to DIPY: max |dc| / max |c| of a voxel, in this share of the voxels; the number of
 * iterations equal in as many. tests/data/README.md says why. */
#define BOUND 1e-8
#define SHARE 0.999

/* 48 bits: a number that JSON holds exactly. */
static inline uint64_t fold(uint64_t hash)
{
    return hash >> 16;
}

#endif
