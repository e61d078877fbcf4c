/*
 * libuv_pool.c - what a piece of work costs in libuv's thread pool, from uv_queue_work to its callback in
 * the loop of the thread that asked.
 */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "bench/what_does_a_task_cost/pool/pool_rows.h"

typedef struct job {
    uv_work_t request;
    uint64_t *result, i;
    pool_task task;
} job;

static job *jobs;
static size_t job_room, done;

static void start(int workers)
{
    char text[16];
    snprintf(text, sizeof text, "%d", workers);
    setenv("UV_THREADPOOL_SIZE", text, 1);
}

static void stop(void)
{
    free(jobs);
    uv_loop_close(uv_default_loop());
}

static void work(uv_work_t *request)
{
    job *j = (job *)request;
    *j->result = pool_work(j->task, j->i);
}

static void after(uv_work_t *request, int status)
{
    (void)request;
    done += status == 0;
}

static void submit(job *j, pool_task task, uint64_t i, uint64_t *result)
{
    j->task = task;
    j->i = i;
    j->result = result;
    if (uv_queue_work(uv_default_loop(), &j->request, work, after) != 0) {
        fprintf(stderr, "uv_queue_work failed\n");
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
        for (size_t j = i; j < end; j++)
            submit(&jobs[j - i], task, j, &results[j - i]);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        for (size_t j = i; j < end; j++)
            sum += pool_counts(task, results[j - i]);
    }
    return sum;
}

static uint64_t trip(uint64_t x)
{
    uint64_t result = 0;
    job j;
    submit(&j, POOL_NEXT, x, &result);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return result;
}

int main(int argc, char **argv)
{
    const pool of = {"libuv_pool", 0, 0, start, stop, stream, trip};
    return pool_rows_run(argc, argv, &of);
}
