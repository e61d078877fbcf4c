/*
 * tree_sum.c - the sum of 0 .. n-1 as a tree of tasks, twice: the driver builds the whole tree of
 * futures and waits for its root only; then a task builds it, each task submitting two more.
 *
 *     cc tree_sum.c $(pkg-config --cflags --libs dmrt)
 *     ./a.out [N]
 *
 * Ends with 0 if both sums are right, with 1 if not.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <dm/dm.h>

enum { GRAIN = 64 }; /* so many numbers are summed by one task */

static int64_t sum_of(int64_t from, int64_t to)
{
    int64_t sum = 0;
    for (int64_t i = from; i < to; i++)
        sum += i;
    return sum;
}

DM_REMOTE(leaf)
{
    int64_t from, to;
    DM_TRY(dm_arg(call, 0, &from));
    DM_TRY(dm_arg(call, 1, &to));
    return dm_return(call, sum_of(from, to));
}

DM_REMOTE(add)
{
    int64_t left, right;
    DM_TRY(dm_arg(call, 0, &left));
    DM_TRY(dm_arg(call, 1, &right));
    return dm_return(call, left + right);
}

/* A tree of futures. Nothing waits here: the whole of it is submitted while its leaves run. */
static dm_ref tree(int64_t from, int64_t to)
{
    if (to - from <= GRAIN)
        return dm_remote(leaf, from, to);
    int64_t middle = from + (to - from) / 2;
    dm_ref left = tree(from, middle), right = tree(middle, to);
    dm_ref both = dm_remote(add, left, right);
    dm_release(left); /* the task that names them keeps them */
    dm_release(right);
    return both;
}

/* The same tree, each node a task that waits for its two children. */
DM_REMOTE(branch)
{
    int64_t from, to, left, right;
    DM_TRY(dm_arg(call, 0, &from));
    DM_TRY(dm_arg(call, 1, &to));
    if (to - from <= GRAIN)
        return dm_return(call, sum_of(from, to));
    int64_t middle = from + (to - from) / 2;
    dm_ref first = dm_remote(branch, from, middle), second = dm_remote(branch, middle, to);
    DM_TRY(dm_get(first, &left)); /* meanwhile this worker runs what it waits for */
    DM_TRY(dm_get(second, &right));
    return dm_return(call, left + right); /* both refs are released at the task's end */
}

int main(int argc, char **argv)
{
    DM_TRY_MAIN(dm_init(NULL));
    int64_t n = argc > 1 ? strtoll(argv[1], NULL, 10) : 10000, outside, inside;
    dm_ref root = tree(0, n);
    DM_TRY_MAIN(dm_get(root, &outside));
    dm_release(root);

    root = dm_remote(branch, (int64_t)0, n);
    DM_TRY_MAIN(dm_get(root, &inside));
    dm_release(root);

    dm_stats stats;
    DM_TRY_MAIN(dm_stats_get(&stats));
    printf("%lld by a tree of futures, %lld by tasks of tasks: %llu tasks\n", (long long)outside,
           (long long)inside, (unsigned long long)stats.tasks_submitted);
    dm_shutdown();
    return outside == sum_of(0, n) && inside == outside ? 0 : 1;
}
