/*
 * starpu_home.h - StarPU with so many CPU workers, in a home of its own: it keeps measurements of the
 * machine in files, and ours are nobody else's.
 */
#ifndef BENCH_STARPU_HOME_H
#define BENCH_STARPU_HOME_H

#include <ftw.h>
#include <starpu.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char bench_starpu_home[64];

static inline int bench_starpu_remove(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info, (void)type, (void)where;
    return remove(path);
}

static inline void bench_starpu_leave(void)
{
    if (*bench_starpu_home)
        nftw(bench_starpu_home, bench_starpu_remove, 16, FTW_DEPTH | FTW_PHYS);
    *bench_starpu_home = 0;
}

static inline void bench_starpu_start(int workers)
{
    struct starpu_conf conf;
    snprintf(bench_starpu_home, sizeof bench_starpu_home, "/tmp/dm-bench-XXXXXX");
    if (mkdtemp(bench_starpu_home) == NULL)
        *bench_starpu_home = 0;
    else
        setenv("STARPU_HOME", bench_starpu_home, 1);
    atexit(bench_starpu_leave);
    setenv("STARPU_SILENT", "1", 1);
    setenv("STARPU_WORKERS_NOBIND", "1", 0); /* the others' threads are not bound, either */
    starpu_conf_init(&conf);
    conf.ncpus = workers;
    conf.ncuda = 0;
    conf.nopencl = 0;
    if (starpu_init(&conf) != 0) {
        fprintf(stderr, "starpu_init failed\n");
        exit(1);
    }
    if ((int)starpu_cpu_worker_get_count() != workers) {
        fprintf(stderr, "StarPU has %u workers, %d were asked for: one thread per CPU is its limit\n",
                starpu_cpu_worker_get_count(), workers);
        exit(1);
    }
}

static inline void bench_starpu_stop(void)
{
    starpu_shutdown();
    bench_starpu_leave();
}

#endif
