/*
 * kernels.c - dm_csd_fit in one thread, with the kernel for each instruction set that is there.
 *
 *   kernels --data FOLDER [--only CASE] [--scale F]
 *
 * The kernels take turns, fit by fit, in blocks of 112 voxels. One that is not there is another one
 * by another name, so it is left out.
 */
#include "cases.h"

enum { BLOCK = 112 };

typedef struct kernel {
    const char *isa, *name, *needs; /* needs: as in /proc/cpuinfo, or NULL */
    dm_csd *model;
    dm_csd_workspace *workspace;
    int64_t wall;
    size_t fits;
} kernel;

static kernel kernels[] = {
    {.isa = "avx512", .name = "dmrt, AVX-512", .needs = " avx512vl "},
    {.isa = "avx2", .name = "dmrt, AVX2", .needs = " avx2 "},
    {.isa = "plain", .name = "dmrt, plain"},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

static data_set set;
static double *signals, *coefficients;
static int32_t *iterations;

static bool is_there(const char *flag)
{
    char line[8192];
    bool found = flag == NULL;
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && !found && fgets(line, sizeof line, file))
        found = strncmp(line, "flags", 5) == 0 && strstr(line, flag);
    if (file)
        fclose(file);
    return found;
}

static void kernel_create(kernel *k)
{
    if (!is_there(k->needs))
        return;
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = LMAX;
    setenv("DM_ISA", k->isa, 1);
    BENCH_TRY(dm_csd_create(&settings, set.gradients, &set.response, &k->model));
    BENCH_TRY(dm_csd_workspace_create(k->model, &k->workspace));
}

static void fit(kernel *k)
{
    const size_t n = set.mask->n, n_volumes = set.dwi->n_volumes;
    memset(coefficients, 0xff, n * dm_sh_count(LMAX) * sizeof *coefficients);
    const int64_t start = bench_now_ns();
    for (size_t i = 0; i < n; i += BLOCK)
        BENCH_TRY(dm_csd_fit(k->model, k->workspace, n - i < BLOCK ? n - i : BLOCK,
                             signals + i * n_volumes, coefficients + i * dm_sh_count(LMAX),
                             iterations + i));
    k->wall += bench_now_ns() - start;
    k->fits++;
}

static uint64_t answer(void)
{
    dm_volume *sh, *counts;
    const size_t n = set.mask->n;
    double *as_doubles = calloc(n, sizeof *as_doubles);
    for (size_t i = 0; as_doubles && i < n; i++)
        as_doubles[i] = iterations[i];
    BENCH_TRY(dm_volume_create(&set.dwi->grid, dm_sh_count(LMAX), DM_VOLUME_F64, &sh));
    BENCH_TRY(dm_volume_create(&set.dwi->grid, 1, DM_VOLUME_I32, &counts));
    dm_volume_scatter(sh, n, set.mask->voxels, coefficients);
    dm_volume_scatter(counts, n, set.mask->voxels, as_doubles);
    const uint64_t off = voxels_off(&set, sh, counts);
    dm_volume_destroy(sh);
    dm_volume_destroy(counts);
    free(as_doubles);
    return off;
}

static void report(const kernel *k, uint64_t off)
{
    char more[64];
    snprintf(more, sizeof more, "\"dwi\":%zu,\"fits\":%zu", set.gradients->n_dwi, k->fits);
    bench_reporter reporter = {asked, k->name, 1};
    bench_report(&reporter,
                 (bench_row){.name = set.name,
                             .unit = "ns",
                             .value = (double)k->wall / ((double)k->fits * (double)set.mask->n),
                             .n = set.mask->n,
                             .answer = off,
                             .more = more});
    bench_report_peak(&reporter, set.name, bench_peak_mib());
}

static void measure(const bench_options *options)
{
    uint64_t off[KERNELS] = {0};
    for (int k = 0; k < KERNELS; k++) {
        kernel_create(&kernels[k]);
        if (!kernels[k].model)
            continue;
        fit(&kernels[k]);
        off[k] = answer();
        kernels[k].wall = 0;
        kernels[k].fits = 0;
    }
    while ((double)kernels[KERNELS - 1].wall < AT_LEAST_NS * options->scale)
        for (int k = 0; k < KERNELS; k++)
            if (kernels[k].model)
                fit(&kernels[k]);
    for (int k = 0; k < KERNELS; k++) {
        if (kernels[k].model)
            report(&kernels[k], off[k]);
        dm_csd_workspace_destroy(kernels[k].workspace);
        dm_csd_destroy(kernels[k].model);
    }
}

int main(int argc, char **argv)
{
    bench_options options = {.workers = 1, .scale = 1};
    const char *folder = read_options(argc, argv, &options);
    if (!bench_wants(&options, name_of(folder)))
        return 0;
    set = data_set_read(folder);
    signals = calloc(set.mask->n * set.dwi->n_volumes, sizeof *signals);
    coefficients = calloc(set.mask->n * dm_sh_count(LMAX), sizeof *coefficients);
    iterations = calloc(set.mask->n, sizeof *iterations);
    bench_expect(1, signals && coefficients && iterations, "memory for the voxels");
    dm_volume_gather(set.dwi, set.mask->n, set.mask->voxels, signals);
    measure(&options);
    free(signals);
    free(coefficients);
    free(iterations);
    data_set_fini(&set);
}
