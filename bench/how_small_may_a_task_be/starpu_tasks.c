/*
 * starpu_tasks.c - Task Bench's graphs on StarPU: dependencies by data handles, two rows of them in turn.
 */
#include <starpu.h>

#include "bench/how_small_may_a_task_be/sweep/sweep.h"
#include "bench/support/starpu_home.h"

typedef struct order {
    graph g;
    int step, point;
} order;

static graph_output outputs[2][GRAPH_MOST_WIDTH];
static starpu_data_handle_t handles[2][GRAPH_MOST_WIDTH];

/* The first buffer is the output, the others are the inputs. */
static void execute(void **buffers, void *argument)
{
    order o;
    int from[GRAPH_MOST_WIDTH];
    const graph_output *inputs[GRAPH_MOST_WIDTH];
    starpu_codelet_unpack_args(argument, &o);
    int count = graph_inputs(&o.g, o.step, o.point, from);
    for (int i = 0; i < count; i++)
        inputs[i] = (const graph_output *)STARPU_VARIABLE_GET_PTR(buffers[i + 1]);
    if (graph_execute(&o.g, o.step, o.point, inputs, count,
                      (graph_output *)STARPU_VARIABLE_GET_PTR(buffers[0])))
        return;
    fprintf(stderr, "step %d, point %d: an input is not the right one\n", o.step, o.point);
    exit(1);
}

static struct starpu_codelet codelet = {.cpu_funcs = {execute}, .nbuffers = STARPU_VARIABLE_NBUFFERS};

static void submit(const graph *g, int step, int point)
{
    int from[GRAPH_MOST_WIDTH];
    struct starpu_data_descr data[GRAPH_MOST_WIDTH + 1];
    order o = {*g, step, point};
    int count = graph_inputs(g, step, point, from);
    data[0] = (struct starpu_data_descr){handles[step % 2][point], STARPU_W};
    for (int i = 0; i < count; i++)
        data[i + 1] = (struct starpu_data_descr){handles[(step + 1) % 2][from[i]], STARPU_R};
    if (starpu_task_insert(&codelet, STARPU_VALUE, &o, sizeof o, STARPU_DATA_MODE_ARRAY, data, count + 1,
                           0) != 0) {
        fprintf(stderr, "starpu_task_insert failed\n");
        exit(1);
    }
}

/* Only the last step can be looked at afterwards; inputs of the others were checked by who read them. */
static uint64_t answer_of(const graph *g)
{
    uint64_t answer = 0;
    for (int step = 0; step < g->steps; step++) {
        for (int point = 0; point < graph_width_at(g, step); point++) {
            const graph_output right = {(uint64_t)step, (uint64_t)point};
            answer += graph_counts(step, point,
                                   step == g->steps - 1 ? &outputs[step % 2][point] : &right);
        }
    }
    return answer;
}

static double run(const graph *g, uint64_t *answer)
{
    memset(outputs, 0xff, sizeof outputs);
    for (int row = 0; row < 2; row++)
        for (int point = 0; point < g->width; point++)
            starpu_variable_data_register(&handles[row][point], STARPU_MAIN_RAM,
                                          (uintptr_t)&outputs[row][point], sizeof outputs[row][point]);
    int64_t start = bench_now_ns();
    for (int step = 0; step < g->steps; step++)
        for (int point = 0; point < graph_width_at(g, step); point++)
            submit(g, step, point);
    starpu_task_wait_for_all();
    double took = (double)(bench_now_ns() - start);
    for (int row = 0; row < 2; row++)
        for (int point = 0; point < g->width; point++)
            starpu_data_unregister(handles[row][point]);
    *answer = answer_of(g);
    return took;
}

int main(int argc, char **argv)
{
    sweep of = {.name = "starpu_tasks", .options = bench_options_read(argc, argv), .run = run};
    bench_starpu_start(of.options.workers);
    sweep_run(&of);
    bench_starpu_stop();
}
