/*
 * mpi_farm.c - from mpirun to a master's first result from a worker, workers that wait for a message, and
 * MPI_Finalize. mpirun's own end is not in the figure: nobody is left to see it.
 */
#include <mpi.h>
#include <unistd.h>

#include "bench/support/clock.h"
#include "bench/support/mpi_launch.h"
#include "bench/support/options.h"
#include "bench/support/private_memory.h"
#include "cases.h"

enum { TAG = 1 };

/* What a worker is asked: 41 + 1, its CPU time, its memory, or to stop. */
typedef enum ask { ASK_RESULT, ASK_CPU, ASK_MEMORY, ASK_STOP } ask;

static bench_reporter reporter = {.question = question, .contestant = "mpi_farm"};

static void report(const char *name, const char *unit, double value)
{
    bench_report(&reporter, (bench_row){.name = name, .unit = unit, .value = value, .n = 1});
}

static void serve(void)
{
    for (int what;;) {
        MPI_Recv(&what, 1, MPI_INT, 0, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        if (what == ASK_STOP)
            return;
        int64_t answer = what == ASK_RESULT ? 42
                         : what == ASK_CPU  ? bench_cpu_ns(0)
                                            : bench_private_kib(getpid());
        MPI_Send(&answer, 1, MPI_INT64_T, 0, TAG, MPI_COMM_WORLD);
    }
}

static int64_t answer_of(int worker, ask what)
{
    int64_t answer;
    int code = (int)what;
    MPI_Send(&code, 1, MPI_INT, worker, TAG, MPI_COMM_WORLD);
    MPI_Recv(&answer, 1, MPI_INT64_T, worker, TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return answer;
}

static int64_t total_cpu_ns(void)
{
    int64_t total = bench_cpu_ns(0);
    for (int i = 1; i <= reporter.workers; i++)
        total += answer_of(i, ASK_CPU);
    return total;
}

static void report_idleness(void)
{
    long largest = 0;
    bench_sleep_ns(SETTLE_NS);
    for (int i = 1; i <= reporter.workers; i++) {
        long kib = (long)answer_of(i, ASK_MEMORY);
        largest = kib > largest ? kib : largest;
    }
    report(CASE_MEMORY, "KiB", (double)largest);
    int64_t cpu = total_cpu_ns();
    bench_sleep_ns(IDLE_NS);
    report(CASE_CPU, "ns", (double)(total_cpu_ns() - cpu) * 1e9 / IDLE_NS);
}

static int64_t master(int64_t started)
{
    bench_expect(42, (uint64_t)answer_of(1, ASK_RESULT), "first result");
    report(CASE_FIRST, "ns", (double)(bench_now_ns() - started));
    report_idleness();
    int64_t ended = bench_now_ns();
    for (int i = 1, code = ASK_STOP; i <= reporter.workers; i++)
        MPI_Send(&code, 1, MPI_INT, i, TAG, MPI_COMM_WORLD);
    return ended;
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    reporter.workers = options.workers;
    char now[24];
    snprintf(now, sizeof now, "%lld", (long long)bench_now_ns());
    setenv("BENCH_STARTED_NS", now, 0); /* the one that is still to become mpirun says when */
    bench_mpi_launch(argc, argv, options.workers + 1);
    int rank;
    int64_t ended = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0)
        ended = master(atoll(getenv("BENCH_STARTED_NS")));
    else
        serve();
    MPI_Finalize();
    if (rank == 0)
        report(CASE_SHUTDOWN, "ns", (double)(bench_now_ns() - ended));
}
