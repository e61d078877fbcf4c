/*
 * fork_waitpid.c - what a process for each task costs: fork, write the result to shared memory, _exit,
 * waitpid; as many at once as there are workers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/what_does_a_task_cost/pool/pool_rows.h"

enum { ROOM = 1 << 20 };

static uint64_t *shared;
static size_t at_once;

static void start(int workers)
{
    at_once = (size_t)workers;
    shared = mmap(NULL, ROOM * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
}

static void stop(void)
{
    munmap(shared, ROOM * sizeof *shared);
}

static void submit(pool_task task, uint64_t i, uint64_t *result)
{
    pid_t pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0) {
        *result = pool_work(task, i);
        _exit(0);
    }
}

static void gather(void)
{
    int status;
    if (waitpid(-1, &status, 0) < 0 || status != 0) {
        fprintf(stderr, "a child did not end well\n");
        exit(1);
    }
}

static uint64_t stream(pool_task task, size_t n, size_t window, uint64_t *results)
{
    (void)results; /* no child could write there */
    uint64_t sum = 0;
    size_t limit = window < at_once ? window : at_once, running = 0;
    for (size_t i = 0; i < n; i++, running++) {
        if (running == limit) {
            gather();
            running--;
        }
        submit(task, i, &shared[i % ROOM]);
    }
    for (; running > 0; running--)
        gather();
    for (size_t i = 0; i < n; i++)
        sum += pool_counts(task, shared[i % ROOM]);
    return sum;
}

static uint64_t trip(uint64_t x)
{
    submit(POOL_NEXT, x, shared);
    gather();
    return *shared;
}

int main(int argc, char **argv)
{
    const pool of = {"fork_waitpid", 0.002, 0, start, stop, stream, trip};
    return pool_rows_run(argc, argv, &of);
}
