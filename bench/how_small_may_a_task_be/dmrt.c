/*
 * dmrt.c - Task Bench's graphs on dmrt: futures are arguments, nothing is waited for before the end.
 */
#include "bench/how_small_may_a_task_be/sweep/sweep.h"
#include "bench/support/session.h"

/* What a task is told, before its inputs. */
typedef struct order {
    graph g;
    int step, point;
} order;

DM_REMOTE(graph_point)
{
    order o;
    dm_view view;
    const graph_output *inputs[GRAPH_MOST_WIDTH];
    graph_output out;
    DM_TRY(dm_arg(call, 0, &view));
    memcpy(&o, view.data, sizeof o);
    int count = dm_arg_count(call) - 1;
    if (count > GRAPH_MOST_WIDTH)
        return dm_fail(call, "%d inputs", count);
    for (int i = 0; i < count; i++) {
        DM_TRY(dm_arg(call, i + 1, &view));
        inputs[i] = view.data;
    }
    if (!graph_execute(&o.g, o.step, o.point, inputs, count, &out))
        return dm_fail(call, "step %d, point %d: an input is not the right one", o.step, o.point);
    return dm_return(call, &DM_BYTES(&out, sizeof out));
}

static dm_ref submit_point(const graph *g, int step, int point, const dm_ref *before)
{
    int inputs[GRAPH_MOST_WIDTH];
    dm_value arguments[GRAPH_MOST_WIDTH + 1];
    order o = {*g, step, point};
    arguments[0] = dm_value_array(&DM_BYTES(&o, sizeof o));
    int count = graph_inputs(g, step, point, inputs);
    for (int i = 0; i < count; i++)
        arguments[i + 1] = dm_value_ref(before[inputs[i]]);
    return dm_submit(&graph_point, NULL, arguments, (size_t)count + 1);
}

static uint64_t gather(int step, int point, dm_ref ref)
{
    dm_view view;
    BENCH_TRY(dm_get(ref, &view));
    uint64_t counts = graph_counts(step, point, view.data);
    dm_view_release(&view);
    BENCH_TRY(dm_release(ref));
    return counts;
}

static double run(const graph *g, uint64_t *answer)
{
    size_t width = (size_t)g->width;
    dm_ref *refs = malloc((size_t)g->steps * width * sizeof *refs);
    *answer = 0;
    int64_t start = bench_now_ns();
    for (int step = 0; step < g->steps; step++)
        for (int point = 0; point < graph_width_at(g, step); point++)
            refs[(size_t)step * width + (size_t)point] =
                submit_point(g, step, point, refs + (size_t)(step > 0 ? step - 1 : 0) * width);
    for (int step = 0; step < g->steps; step++)
        for (int point = 0; point < graph_width_at(g, step); point++)
            *answer += gather(step, point, refs[(size_t)step * width + (size_t)point]);
    double took = (double)(bench_now_ns() - start);
    free(refs);
    return took;
}

int main(int argc, char **argv)
{
    sweep of = {.options = bench_options_read(argc, argv), .run = run};
    dm_options session = bench_session_options(&of.options);
    BENCH_TRY(dm_init(&session));
    of.name = bench_session_name(&of.options);
    sweep_run(&of);
    dm_shutdown();
}
