/*
 * mpi_static.c - Task Bench's graphs as MPI programs are written: points belong to ranks for good, a message
 * goes where an output of another rank is read. No runtime could do with less, and none that schedules does.
 */
#include <mpi.h>

#include "bench/how_small_may_a_task_be/sweep/sweep.h"
#include "bench/support/mpi_launch.h"

enum { MOST_MESSAGES = 2 * GRAPH_MOST_WIDTH * 4 };

static int rank, ranks;
static graph_output outputs[2][GRAPH_MOST_WIDTH];
static MPI_Request requests[MOST_MESSAGES];
static int pending;

static int owner(const graph *g, int point)
{
    return point * ranks / g->width;
}

static MPI_Request *next_request(void)
{
    if (pending == MOST_MESSAGES) {
        fprintf(stderr, "too many messages in one step\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return &requests[pending++];
}

/* An output of the step before comes once to a rank, however many of its points read it. */
static void exchange(const graph *g, int step)
{
    bool moved[GRAPH_MOST_WIDTH] = {false};
    int from[GRAPH_MOST_WIDTH];
    graph_output *before = outputs[(step + 1) % 2];
    pending = 0;
    for (int to_rank = 0; to_rank < ranks; to_rank++) {
        memset(moved, 0, sizeof moved);
        for (int point = 0; point < graph_width_at(g, step); point++) {
            if (owner(g, point) != to_rank)
                continue;
            int count = graph_inputs(g, step, point, from);
            for (int i = 0; i < count; i++) {
                int source = owner(g, from[i]);
                if (moved[from[i]] || source == to_rank)
                    continue;
                moved[from[i]] = true;
                if (to_rank == rank)
                    MPI_Irecv(&before[from[i]], sizeof *before, MPI_BYTE, source, from[i], MPI_COMM_WORLD,
                              next_request());
                else if (source == rank)
                    MPI_Isend(&before[from[i]], sizeof *before, MPI_BYTE, to_rank, from[i], MPI_COMM_WORLD,
                              next_request());
            }
        }
    }
    MPI_Waitall(pending, requests, MPI_STATUSES_IGNORE);
}

static void execute(const graph *g, int step, int point)
{
    int from[GRAPH_MOST_WIDTH];
    const graph_output *inputs[GRAPH_MOST_WIDTH];
    int count = graph_inputs(g, step, point, from);
    for (int i = 0; i < count; i++)
        inputs[i] = &outputs[(step + 1) % 2][from[i]];
    if (graph_execute(g, step, point, inputs, count, &outputs[step % 2][point]))
        return;
    fprintf(stderr, "step %d, point %d: an input is not the right one\n", step, point);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static double run(const graph *g, uint64_t *answer)
{
    uint64_t mine = 0;
    memset(outputs, 0xff, sizeof outputs);
    MPI_Barrier(MPI_COMM_WORLD);
    int64_t start = bench_now_ns();
    for (int step = 0; step < g->steps; step++) {
        exchange(g, step);
        for (int point = 0; point < graph_width_at(g, step); point++) {
            if (owner(g, point) != rank)
                continue;
            execute(g, step, point);
            mine += graph_counts(step, point, &outputs[step % 2][point]);
        }
    }
    MPI_Barrier(MPI_COMM_WORLD);
    double took = (double)(bench_now_ns() - start);
    MPI_Allreduce(&mine, answer, 1, MPI_UINT64_T, MPI_SUM, MPI_COMM_WORLD);
    return took;
}

static double agree(double value)
{
    MPI_Bcast(&value, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    return value;
}

int main(int argc, char **argv)
{
    sweep of = {.name = "mpi_static", .options = bench_options_read(argc, argv), .run = run, .agree = agree};
    bench_mpi_launch(argc, argv, of.options.workers);
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    of.silent = rank != 0;
    sweep_run(&of);
    MPI_Finalize();
}
