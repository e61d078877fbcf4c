/*
 * starpu_tasks.c - what a task costs in StarPU: codelets without data handles, whose argument is the
 * place of the result. They pay for none of StarPU's data management, nor is there any.
 */
#include <starpu.h>

#include "bench/support/starpu_home.h"
#include "bench/what_does_a_task_cost/pool/pool_rows.h"

typedef struct job {
    uint64_t *result, i;
    pool_task task;
} job;

static job *jobs;
static size_t job_room;

static void run_job(void **buffers, void *argument)
{
    (void)buffers;
    const job *j = argument;
    __atomic_store_n(j->result, pool_work(j->task, j->i), __ATOMIC_RELEASE);
}

static struct starpu_codelet codelet = {.cpu_funcs = {run_job}, .nbuffers = 0};

static void start(int workers)
{
    bench_starpu_start(workers);
}

static void stop(void)
{
    free(jobs);
    bench_starpu_stop();
}

static void submit(job *j)
{
    struct starpu_task *task = starpu_task_create();
    task->cl = &codelet;
    task->cl_arg = j;
    task->cl_arg_size = sizeof *j;
    if (starpu_task_submit(task) != 0) {
        fprintf(stderr, "starpu_task_submit failed: no worker takes the task\n");
        exit(1);
    }
}

static void make_room(size_t window)
{
    if (window <= job_room)
        return;
    jobs = realloc(jobs, window * sizeof *jobs);
    job_room = window;
}

static uint64_t stream(pool_task task, size_t n, size_t window, uint64_t *results)
{
    uint64_t sum = 0;
    make_room(window);
    for (size_t i = 0; i < n; i += window) {
        size_t end = i + window < n ? i + window : n;
        for (size_t j = i; j < end; j++) {
            jobs[j - i] = (job){&results[j - i], j, task};
            submit(&jobs[j - i]);
        }
        starpu_task_wait_for_all();
        for (size_t j = i; j < end; j++)
            sum += pool_counts(task, results[j - i]);
    }
    return sum;
}

static uint64_t trip(uint64_t x)
{
    uint64_t result = 0;
    job j = {&result, x, POOL_NEXT};
    submit(&j);
    starpu_task_wait_for_all();
    return result;
}

int main(int argc, char **argv)
{
    const pool of = {"starpu_tasks", 0.05, 0, start, stop, stream, trip};
    return pool_rows_run(argc, argv, &of);
}
