/*
 * openmp_tasks.c - Task Bench's graphs as OpenMP tasks with depend clauses.
 */
#include <omp.h>

#include "bench/how_small_may_a_task_be/sweep/sweep.h"

static graph_output *outputs; /* of all steps: a place is written once in a run */

static void execute(const graph *g, int step, int point)
{
    int from[GRAPH_MOST_WIDTH];
    const graph_output *inputs[GRAPH_MOST_WIDTH];
    int count = graph_inputs(g, step, point, from);
    for (int i = 0; i < count; i++)
        inputs[i] = &outputs[(step - 1) * g->width + from[i]];
    if (graph_execute(g, step, point, inputs, count, &outputs[step * g->width + point]))
        return;
    fprintf(stderr, "step %d, point %d: an input is not the right one\n", step, point);
    exit(1);
}

static void submit(const graph *g, int step, int point)
{
    int from[GRAPH_MOST_WIDTH];
    int count = graph_inputs(g, step, point, from);
    graph_output *out = &outputs[step * g->width + point];
    graph_output *before = outputs + (step > 0 ? step - 1 : 0) * g->width;
    (void)count, (void)before; /* read by the iterator only, which gcc does not count */
#pragma omp task firstprivate(g, step, point) depend(iterator(i = 0 : count), in : before[from[i]])         \
    depend(out : *out)
    execute(g, step, point);
}

static double run(const graph *g, uint64_t *answer)
{
    size_t places = (size_t)g->steps * (size_t)g->width;
    outputs = malloc(places * sizeof *outputs);
    memset(outputs, 0xff, places * sizeof *outputs);
    int64_t start = bench_now_ns();
#pragma omp taskgroup
    for (int step = 0; step < g->steps; step++)
        for (int point = 0; point < graph_width_at(g, step); point++)
            submit(g, step, point);
    double took = (double)(bench_now_ns() - start);
    *answer = 0;
    for (int step = 0; step < g->steps; step++)
        for (int point = 0; point < graph_width_at(g, step); point++)
            *answer += graph_counts(step, point, &outputs[step * g->width + point]);
    free(outputs);
    return took;
}

int main(int argc, char **argv)
{
    sweep of = {.name = CONTESTANT, .options = bench_options_read(argc, argv), .run = run};
    omp_set_dynamic(0);
    omp_set_num_threads(of.options.workers);
#pragma omp parallel
#pragma omp single
    sweep_run(&of);
}
