/*
 * workers.c - the same as tasks, with 1, 2, 4 .. workers.
 *
 *   workers --data FOLDER [--workers MOST] [--only CASE] [--scale F]
 *
 * A whole call of dm_fit_csd is timed, from image to maps, models set up in the workers included.
 */
#include <dm/fit.h>

#include "cases.h"

static data_set set;

static double ns_per_voxel(const dm_csd_maps *maps, const bench_options *options)
{
    const dm_csd_fit_input input = {.dwi = set.dwi,
                                    .gradients = set.gradients,
                                    .mask = set.mask,
                                    .response = set.response};
    int64_t wall = 0;
    size_t fits = 0;
    BENCH_TRY(dm_fit_csd(&input, NULL, maps, NULL)); /* starts workers, touches memory */
    while ((double)wall < AT_LEAST_NS * options->scale) {
        const int64_t start = bench_now_ns();
        BENCH_TRY(dm_fit_csd(&input, NULL, maps, NULL));
        wall += bench_now_ns() - start;
        fits++;
    }
    return (double)wall / ((double)fits * (double)set.mask->n);
}

static void measure(int workers, const bench_options *options)
{
    char name[32];
    dm_csd_maps maps = {0};
    BENCH_TRY(
        dm_volume_create(&set.dwi->grid, dm_sh_count(LMAX), DM_VOLUME_F64, &maps.coefficients));
    BENCH_TRY(dm_volume_create(&set.dwi->grid, 1, DM_VOLUME_I32, &maps.iterations));
    BENCH_TRY(dm_init(&(dm_options){.workers = workers}));
    const double ns = ns_per_voxel(&maps, options);
    const double mib = bench_session_peak_mib();
    dm_shutdown();
    snprintf(name, sizeof name, "dmrt, %d worker%s", workers, workers > 1 ? "s" : "");
    bench_reporter reporter = {asked, name, workers};
    bench_report(&reporter,
                 (bench_row){.name = set.name,
                             .unit = "ns",
                             .value = ns,
                             .n = set.mask->n,
                             .answer = voxels_off(&set, maps.coefficients, maps.iterations)});
    bench_report_peak(&reporter, set.name, mib);
    dm_volume_destroy(maps.coefficients);
    dm_volume_destroy(maps.iterations);
}

int main(int argc, char **argv)
{
    bench_options options = {.workers = bench_cpus(), .scale = 1};
    const char *folder = read_options(argc, argv, &options);
    BENCH_TRY(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL})); /* a worker goes no further */
    dm_shutdown();
    if (!bench_wants(&options, name_of(folder)))
        return 0;
    set = data_set_read(folder);
    for (int workers = 1; workers < options.workers; workers *= 2)
        measure(workers, &options);
    measure(options.workers, &options);
    data_set_fini(&set);
}
