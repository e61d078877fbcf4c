/* hello.c - two tasks in worker processes; the second takes the first one's future. */
#include <dm/dm.h>
#include <stdio.h>

DM_REMOTE(square) /* registers itself; runs in a worker */
{
    double x;
    DM_TRY(dm_arg(call, 0, &x));
    return dm_return(call, x * x);
}

int main(void)
{
    DM_TRY_MAIN(dm_init(NULL));                  /* first: in the workers it does not return */
    dm_ref four = dm_remote(square, 2.0);        /* a future, at once */
    dm_ref sixteen = dm_remote(square, four);    /* futures are arguments */
    double y;
    DM_TRY_MAIN(dm_get(sixteen, &y));
    printf("%g\n", y);
    dm_release(four);
    dm_release(sixteen);
    dm_shutdown();
    return 0;
}
