/*
 * cases.h - what every contestant does here: CSD at lmax 8 of one data set, the voxels of its mask.
 * A case is called as its set.
 *
 * Timed is the fit alone: from signals in memory to coefficients in memory, the model set up before.
 * (MRtrix3 has only the command; its file says how that is made fair.)
 *
 * The answer is the number of voxels that are not within BOUND of DIPY's golden result.
 *
 * "SET, peak memory" is the whole contestant's, image and golden result included.
 */
#ifndef BENCH_CSD_CASES_H
#define BENCH_CSD_CASES_H

#include "bench/how_fast_is_a_fit/data_set.h"
#include "bench/support/peak_memory.h"

static const char asked[] = "how_fast_is_csd";

static inline uint64_t voxels_off(const data_set *set, const dm_volume *sh,
                                  const dm_volume *iterations)
{
    const deviation of = deviation_from(set, sh, iterations);
    const double n = (double)set->mask->n;
    if (of.within_bound >= SHARE && of.iterations_equal >= SHARE)
        return (uint64_t)(n - of.within_bound * n + 0.5);
    fprintf(stderr, "%s: %.3f %% of the voxels are within %g of DIPY; %.1f %% were expected\n",
            set->name, 100 * of.within_bound, BOUND, 100 * SHARE);
    exit(1);
}

/* bench_options, and --data FOLDER. */
static inline const char *read_options(int argc, char **argv, bench_options *options)
{
    const char *folder = NULL;
    bool right = true;
    for (int i = 1; i < argc && right; i += 2) {
        right = i + 1 < argc;
        if (right && strcmp(argv[i], "--data") == 0)
            folder = argv[i + 1];
        else
            right = right && bench_option(options, argv[i], argv[i + 1]);
    }
    if (right && folder && options->workers > 0 && options->scale > 0)
        return folder;
    fprintf(stderr, "usage: %s --data FOLDER [--workers N] [--only CASE] [--scale F]\n", argv[0]);
    exit(2);
}

#endif
