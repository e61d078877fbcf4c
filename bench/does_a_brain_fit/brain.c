/*
 * brain.c - one fit of an image of a study's size by the dm command: how long, and how much memory.
 *
 *     brain FOLDER DWI csd|fwdti STORE [DM]
 *
 * FOLDER has DWI, scheme.bval and scheme.bvec; the mask is made there: an ellipsoid of a brain's size.
 * Memory is the sum of the proportional set sizes (smaps_rollup: Pss) of dm and all its workers, four
 * times a second: what they share is counted once, programs and libraries included. The
 * pages of the store that no process has mapped just now are not in it; they are in the machine's
 * Shmem, whose rise is told beside it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dm/fit.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/support/clock.h"
#include "bench/support/row.h"

typedef struct memory {
    double pss_mib, file_mib, shared_mib; /* the most there was; pss has the other two in it */
    double shmem_rise_mib;
} memory;

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "brain: %s: %s\n", what, why);
    exit(1);
}

/* ---- the mask ---- */

static size_t make_mask(const char *dwi, const char *path)
{
    enum { SHARE = 27 }; /* percent of the voxels: an HCP subject's */
    dm_volume *mask;
    /* The radii relative to the box, from the volume of an ellipsoid. */
    const double radius = __builtin_cbrt(SHARE / 100. * 8 / (4. / 3 * 3.14159265358979));
    dm_image_file *file;
    if (dm_image_file_open(dwi, &file) != DM_OK)
        fail(dwi, dm_last_error());
    const dm_grid grid = dm_image_file_header(file)->grid;
    dm_image_file_close(file);
    if (dm_volume_create(&grid, 1, DM_VOLUME_U8, &mask) != DM_OK)
        fail(path, dm_last_error());
    size_t n = 0;
    for (size_t v = 0; v < mask->n_voxels; v++) {
        const size_t at[3] = {v % grid.shape[0], v / grid.shape[0] % grid.shape[1],
                              v / grid.shape[0] / grid.shape[1]};
        double sum = 0;
        for (int k = 0; k < 3; k++) {
            const double x = (2. * (double)at[k] + 1) / (double)grid.shape[k] - 1;
            sum += x * x / (radius * radius);
        }
        n += ((unsigned char *)mask->data)[v] = sum < 1;
    }
    if (dm_volume_write(mask, path, true) != DM_OK)
        fail(path, dm_last_error());
    dm_volume_destroy(mask);
    return n;
}

/* ---- memory ---- */

static double proc_mib(const char *path, const char *field)
{
    char line[256];
    double kib = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field), NULL);
    if (file)
        fclose(file);
    return kib / 1024;
}

static int group_of(const char *pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "r");
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
    }
    const char *end = strrchr(text, ')');
    int parent, group;
    return end && sscanf(end + 1, " %*c %d %d", &parent, &group) == 2 ? group : -1;
}

static void sample(pid_t group, double shmem_before, memory *most)
{
    memory now = {0};
    DIR *proc = opendir("/proc");
    struct dirent *entry;
    while (proc && (entry = readdir(proc))) {
        char path[64];
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || group_of(entry->d_name) != group)
            continue;
        snprintf(path, sizeof path, "/proc/%.20s/smaps_rollup", entry->d_name);
        now.pss_mib += proc_mib(path, "Pss:");
        now.file_mib += proc_mib(path, "Pss_File:");
        now.shared_mib += proc_mib(path, "Pss_Shmem:");
    }
    if (proc)
        closedir(proc);
    now.shmem_rise_mib = proc_mib("/proc/meminfo", "Shmem:") - shmem_before;
#define KEEP(field) most->field = now.field > most->field ? now.field : most->field
    KEEP(pss_mib);
    KEEP(file_mib);
    KEEP(shared_mib);
    KEEP(shmem_rise_mib);
#undef KEEP
}

/* ---- the fit ---- */

static pid_t start(char *const *argv, const char *store)
{
    const pid_t pid = fork();
    if (pid != 0) {
        setpgid(pid, pid);
        return pid;
    }
    setpgid(0, 0);
    setenv("DM_STORE_BYTES", store, 1);
    const int null = open("/dev/null", O_WRONLY);
    if (dup2(null, 1) < 0)
        _exit(126);
    execv(argv[0], argv);
    _exit(127);
}

static double figure(const char *json, const char *name)
{
    char text[4096] = "", wanted[64];
    FILE *file = fopen(json, "r");
    if (file) {
        text[fread(text, 1, sizeof text - 1, file)] = 0;
        fclose(file);
    }
    snprintf(wanted, sizeof wanted, "\"%s\":", name);
    const char *at = strstr(text, wanted);
    if (!at)
        fail(json, "dm wrote no figures");
    return strtod(at + strlen(wanted), NULL);
}

static void report(const char *name, const char *json, double seconds, const memory *most,
                   size_t n_voxels)
{
    char more[512];
    const bench_reporter who = {"does_a_brain_fit", "dmrt", (int)figure(json, "workers")};
    const double mib = 1 << 20;
    snprintf(more, sizeof more,
             "\"store_mib\":%.0f,\"file_pages_mib\":%.0f,\"shared_mib\":%.0f,"
             "\"shmem_rise_mib\":%.0f,\"spilled_mib\":%.0f,\"seconds\":%.1f,"
             "\"reading_seconds\":%.1f,\"fit_seconds\":%.1f,\"writing_seconds\":%.1f",
             figure(json, "store_bytes") / mib, most->file_mib, most->shared_mib,
             most->shmem_rise_mib, figure(json, "spilled_bytes") / mib, seconds,
             figure(json, "reading_seconds"), figure(json, "seconds"),
             figure(json, "writing_seconds"));
    bench_report(&who, (bench_row){.name = name,
                                   .unit = "MiB at most",
                                   .value = most->pss_mib,
                                   .n = n_voxels,
                                   .answer = n_voxels,
                                   .more = more});
    fprintf(stderr,
            "%-34s %6.0f MiB at most, store %.0f; %.0f s: reading %.0f, fit %.0f, writing %.0f\n",
            name, most->pss_mib, figure(json, "store_bytes") / mib, seconds,
            figure(json, "reading_seconds"), figure(json, "seconds"),
            figure(json, "writing_seconds"));
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: brain FOLDER DWI csd|fwdti STORE DM\n");
        return 2;
    }
    const char *model = argv[3], *store = argv[4];
    char name[128], dm[1024];
    snprintf(dm, sizeof dm, "%s", argv[5]);
    if (chdir(argv[1]) != 0)
        fail(argv[1], "no such folder");
    const size_t n = make_mask(argv[2], "mask.nii");
    char *const command[] = {dm,         "fit",         argv[3],  "--dwi",       argv[2],
                             "--bval",   "scheme.bval", "--bvec", "scheme.bvec", "--mask",
                             "mask.nii", "--out",       "maps",   "--force",     "--json",
                             "figures",  NULL};
    memory most = {0};
    const double shmem = proc_mib("/proc/meminfo", "Shmem:");
    const int64_t began = bench_now_ns();
    const pid_t pid = start(command, store);
    int status;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        sample(pid, shmem, &most);
        nanosleep(&(struct timespec){0, 250000000}, NULL);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail(argv[2], "the fit failed");
    bench_expect(n, (uint64_t)figure("figures", "voxels"), "voxels fitted");
    snprintf(name, sizeof name, "%s of %s, store %s", model, argv[2], store);
    report(name, "figures", 1e-9 * (double)(bench_now_ns() - began), &most, n);
    return 0;
}
