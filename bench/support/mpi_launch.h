/*
 * mpi_launch.h - a contestant on MPI starts itself under mpirun, so that it is called like the others.
 */
#ifndef BENCH_MPI_LAUNCH_H
#define BENCH_MPI_LAUNCH_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Returns in the ranks only. There may be more of them than CPUs: as with the others, who waits yields. */
static inline void bench_mpi_launch(int argc, char **argv, int ranks)
{
    static char count[16], self[4096];
    char *words[64] = {"mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader",
                       "--mca", "plm_rsh_agent", "false", "-n", count, self};
    int used = 13;
    if (getenv("OMPI_COMM_WORLD_SIZE"))
        return;
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    snprintf(count, sizeof count, "%d", ranks);
    for (int i = 1; i < argc && used < 63; i++)
        words[used++] = argv[i];
    if (geteuid() == 0) { /* it refuses root otherwise */
        setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
        setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    }
    execvp(words[0], words);
    fprintf(stderr, "%s: mpirun cannot be started: %s (Debian: openmpi-bin)\n", argv[0], strerror(errno));
    exit(1);
}

#endif
