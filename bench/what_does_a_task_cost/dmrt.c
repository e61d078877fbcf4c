/*
 * dmrt.c - what a task costs through the public header, with any engine. The rows are in rows/, because
 * `dm bench tasks` has them, too.
 */
#include "bench/support/session.h"
#include "bench/what_does_a_task_cost/cases.h"
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"

static void report(void *context, const bench_row *row)
{
    bench_report(context, *row);
}

int main(int argc, char **argv)
{
    bench_options options = bench_options_read(argc, argv);
    dm_options session = bench_session_options(&options);
    BENCH_TRY(dm_init(&session));
    bench_reporter reporter = {question, bench_session_name(&options), options.workers};
    dmrt_rows rows = {options, report, &reporter};
    dmrt_rows_run(&rows);
    dmrt_rows_run_many(&rows);
    dm_shutdown();
}
