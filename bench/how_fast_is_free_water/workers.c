/*
 * workers.c - the same as tasks, with 1, 2, 4 .. workers.
 *
 *   workers --data FOLDER [--workers MOST] [--only CASE] [--scale F]
 *
 * A whole call of dm_fit_fwdti is timed, from image to map, models set up in the workers included.
 */
#include <dm/fit.h>

#include "cases.h"

static data_set set;

static double ns_per_voxel(dm_fwdti_method method, const dm_fwdti_maps *maps,
                           const bench_options *options)
{
    const dm_fwdti_settings settings = settings_of(method);
    const dm_fwdti_fit_input input = {.dwi = set.dwi,
                                      .gradients = set.gradients,
                                      .mask = set.mask,
                                      .settings = &settings};
    int64_t wall = 0;
    size_t fits = 0;
    BENCH_TRY(dm_fit_fwdti(&input, NULL, maps, NULL)); /* starts workers, touches memory */
    while ((double)wall < AT_LEAST_NS * options->scale) {
        const int64_t start = bench_now_ns();
        BENCH_TRY(dm_fit_fwdti(&input, NULL, maps, NULL));
        wall += bench_now_ns() - start;
        fits++;
    }
    return (double)wall / ((double)fits * (double)set.mask->n);
}

static uint64_t off_by(dm_fwdti_method method, const dm_fwdti_maps *maps)
{
    double *parameters = calloc(set.mask->n * P, sizeof *parameters);
    bench_expect(1, parameters != NULL, "memory for the voxels");
    dm_volume_gather(maps->parameters, set.mask->n, set.mask->voxels, parameters);
    const uint64_t off = voxels_off(&set, method, parameters);
    free(parameters);
    return off;
}

static void measure(dm_fwdti_method method, int workers, const bench_options *options)
{
    char name[32], more[32];
    dm_fwdti_maps maps = {0};
    if (!bench_wants(options, case_name(&set, method)))
        return;
    BENCH_TRY(dm_volume_create(&set.dwi->grid, P, DM_VOLUME_F64, &maps.parameters));
    BENCH_TRY(dm_init(&(dm_options){.workers = workers}));
    const double ns = ns_per_voxel(method, &maps, options);
    const double mib = bench_session_peak_mib();
    dm_shutdown();
    snprintf(name, sizeof name, "dmrt, %d worker%s", workers, workers > 1 ? "s" : "");
    snprintf(more, sizeof more, "\"off\":%llu", (unsigned long long)off_by(method, &maps));
    bench_reporter reporter = {asked, name, workers};
    bench_report(&reporter, (bench_row){.name = case_name(&set, method),
                                        .unit = "ns",
                                        .value = ns,
                                        .n = set.mask->n,
                                        .more = more});
    bench_report_peak(&reporter, case_name(&set, method), mib);
    dm_volume_destroy(maps.parameters);
}

static void measure_all(dm_fwdti_method method, const bench_options *options)
{
    for (int workers = 1; workers < options->workers; workers *= 2)
        measure(method, workers, options);
    measure(method, options->workers, options);
}

int main(int argc, char **argv)
{
    bench_options options = {.workers = bench_cpus(), .scale = 1};
    const char *folder = read_options(argc, argv, &options);
    BENCH_TRY(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL})); /* a worker goes no further */
    dm_shutdown();
    set = data_set_read(folder);
    measure_all(DM_FWDTI_WLS, &options);
    measure_all(DM_FWDTI_NLS, &options);
    data_set_fini(&set);
}
