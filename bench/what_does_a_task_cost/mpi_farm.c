/*
 * mpi_farm.c - what a task costs if it is a message: a master hands them out, workers answer (Open MPI).
 *
 * A window of W is W messages in flight; no more than 4,096, since MPI has no bound on what it keeps for
 * a receiver.
 */
#include <mpi.h>
#include <stdio.h>

#include "bench/support/mpi_launch.h"
#include "bench/support/options.h"
#include "bench/what_does_a_task_cost/pool/pool_rows.h"

enum { TAG = 1, STOP = -1 };

typedef struct message {
    int64_t task;
    uint64_t i;
} message;

static int worker_count;

static void serve(void)
{
    message m;
    for (;;) {
        MPI_Recv(&m, sizeof m, MPI_BYTE, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (m.task == STOP)
            return;
        uint64_t result = pool_work((pool_task)m.task, m.i);
        MPI_Send(&result, sizeof result, MPI_BYTE, 0, TAG, MPI_COMM_WORLD);
    }
}

static void submit(int64_t task, uint64_t i, int worker)
{
    message m = {task, i};
    MPI_Send(&m, sizeof m, MPI_BYTE, worker, TAG, MPI_COMM_WORLD);
}

/* The next result of anybody, and whose it was. */
static uint64_t gather(int *worker)
{
    uint64_t result;
    MPI_Status status;
    MPI_Recv(&result, sizeof result, MPI_BYTE, MPI_ANY_SOURCE, TAG, MPI_COMM_WORLD, &status);
    *worker = status.MPI_SOURCE;
    return result;
}

static uint64_t stream(pool_task task, size_t n, size_t window, uint64_t *results)
{
    (void)results;
    uint64_t sum = 0;
    int worker;
    for (size_t i = 0; i < n; i++) {
        worker = 1 + (int)(i % (size_t)worker_count);
        if (i >= window)
            sum += pool_counts(task, gather(&worker));
        submit(task, i, worker);
    }
    for (size_t i = 0; i < window; i++)
        sum += pool_counts(task, gather(&worker));
    return sum;
}

static uint64_t trip(uint64_t x)
{
    int worker;
    submit(POOL_NEXT, x, 1);
    return gather(&worker);
}

static void start(int workers)
{
    worker_count = workers;
}

static void stop(void)
{
    for (int i = 1; i <= worker_count; i++)
        submit(STOP, 0, i);
}

int main(int argc, char **argv)
{
    const pool of = {"mpi_farm", 0, 4096, start, stop, stream, trip};
    bench_options options = bench_options_read(argc, argv);
    bench_mpi_launch(argc, argv, options.workers + 1);
    int rank;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        pool_rows_run(argc, argv, &of);
    else
        serve();
    MPI_Finalize();
}
