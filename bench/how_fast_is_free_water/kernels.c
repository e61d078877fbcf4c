/*
 * kernels.c - dm_fwdti_fit in one thread, with the sweeps for each instruction set that is there.
 *
 *   kernels --data FOLDER [--only CASE] [--scale F]
 *
 * They take turns, fit by fit. One that is not there is another one by another name, so it is left
 * out.
 */
#include "cases.h"

typedef struct kernel {
    const char *isa, *name, *needs; /* needs: as in /proc/cpuinfo, or NULL */
    dm_fwdti *model;
    dm_fwdti_workspace *workspace;
    int64_t wall, cpu;
    size_t fits;
    uint64_t off;
} kernel;

static kernel kernels[] = {
    {.isa = "avx512", .name = "dmrt, AVX-512", .needs = " avx512vl "},
    {.isa = "avx2", .name = "dmrt, AVX2", .needs = " avx2 "},
    {.isa = "plain", .name = "dmrt, plain"},
};
enum { KERNELS = sizeof kernels / sizeof *kernels };

static data_set set;
static double *signals, *parameters;

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

static void fit(kernel *k)
{
    const size_t n = set.mask->n;
    memset(parameters, 0xff, n * P * sizeof *parameters);
    const int64_t cpu = bench_cpu_ns(getpid()), start = bench_now_ns();
    BENCH_TRY(dm_fwdti_fit(k->model, k->workspace, n, signals, parameters, NULL));
    k->wall += bench_now_ns() - start;
    k->cpu += bench_cpu_ns(getpid()) - cpu;
    k->fits++;
}

/* The first fit counts for the answer alone: it touches memory. */
static void kernel_begin(kernel *k, dm_fwdti_method method)
{
    const dm_fwdti_settings settings = settings_of(method);
    k->model = NULL;
    k->workspace = NULL;
    if (!is_there(k->needs))
        return;
    setenv("DM_ISA", k->isa, 1);
    BENCH_TRY(dm_fwdti_create(&settings, set.gradients, &k->model));
    BENCH_TRY(dm_fwdti_workspace_create(k->model, &k->workspace));
    fit(k);
    k->off = voxels_off(&set, method, parameters);
    k->wall = 0;
    k->cpu = 0;
    k->fits = 0;
}

static void kernel_end(kernel *k, dm_fwdti_method method)
{
    char more[128];
    const double fitted = (double)k->fits * (double)set.mask->n;
    bench_reporter reporter = {asked, k->name, 1};
    if (k->model) {
        snprintf(more, sizeof more, "\"volumes\":%zu,\"fits\":%zu,\"off\":%llu,\"cpu_ns\":%.6g",
                 set.dwi->n_volumes, k->fits, (unsigned long long)k->off, (double)k->cpu / fitted);
        bench_report(&reporter, (bench_row){.name = case_name(&set, method),
                                            .unit = "ns",
                                            .value = (double)k->wall / fitted,
                                            .n = set.mask->n,
                                            .more = more});
        bench_report_peak(&reporter, case_name(&set, method), bench_peak_mib());
    }
    dm_fwdti_workspace_destroy(k->workspace);
    dm_fwdti_destroy(k->model);
}

static void measure(dm_fwdti_method method, const bench_options *options)
{
    if (!bench_wants(options, case_name(&set, method)))
        return;
    for (int k = 0; k < KERNELS; k++)
        kernel_begin(&kernels[k], method);
    while ((double)kernels[KERNELS - 1].wall < AT_LEAST_NS * options->scale)
        for (int k = 0; k < KERNELS; k++)
            if (kernels[k].model)
                fit(&kernels[k]);
    for (int k = 0; k < KERNELS; k++)
        kernel_end(&kernels[k], method);
}

int main(int argc, char **argv)
{
    bench_options options = {.workers = 1, .scale = 1};
    set = data_set_read(read_options(argc, argv, &options));
    signals = calloc(set.mask->n * set.dwi->n_volumes, sizeof *signals);
    parameters = calloc(set.mask->n * P, sizeof *parameters);
    bench_expect(1, signals && parameters, "memory for the voxels");
    dm_volume_gather(set.dwi, set.mask->n, set.mask->voxels, signals);
    measure(DM_FWDTI_WLS, &options);
    measure(DM_FWDTI_NLS, &options);
    free(signals);
    free(parameters);
    data_set_fini(&set);
}
