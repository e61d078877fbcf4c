/*
 * profile.h - what each voxel costs, as it was measured one by one, laid end to end over a brain of any size.
 */
#ifndef BENCH_PROFILE_H
#define BENCH_PROFILE_H

#include <stddef.h>

typedef struct profile {
    size_t n;
    double *sum; /* n + 1: of the first voxels' costs, where the mean is 1 */
} profile;

/* Costs in any unit. Yours: profile_fini. */
profile profile_of(size_t n, const double *costs);
void profile_fini(profile *p);

/* The cost of voxels first .. first + n, in mean voxels. `alike` voxels in a row cost the same: 1 for voxels that do
 * not know of each other, more for a brain with structure. */
double profile_cost(const profile *p, size_t first, size_t n, size_t alike);

/* Standard deviation of a voxel over its mean. */
double profile_spread(const profile *p);

#endif
