/*
 * bench_command.c - dm bench tasks: what a task costs on this machine, in half a minute.
 *
 * The rows are those of bench/what_does_a_task_cost. Each run has a session of its own; workers are this
 * program with the same arguments, and get no further than the first dm_init.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/support/gnuplot.h"
#include "bench/support/scale.h"
#include "bench/support/statistics.h"
#include "bench/what_does_a_task_cost/rows/dmrt_rows.h"
#include "runtime/dm/bench_plot.h"
#include "runtime/dm/command.h"

/* Another run begins only if it will end within half a minute, should it take as long as the one before. */
enum { MOST_RUNS = 64, DEFAULT_RUNS = 9, PATIENCE_S = 30 };

static const char question[] = "what_does_a_task_cost";

static const char help_text[] =
    "dm bench tasks - what a task costs on this machine\n"
    "\n"
    "Usage: dm bench tasks [OPTION...]\n"
    "\n"
    "  --json           a line of JSON for each row on stdout, and no table\n"
    "  --plot FILE      draw the rows, too, as a PNG (needs gnuplot)\n"
    "  --only ROW       only the row of this name, as the table has it\n"
    "  --runs N         so many runs, 1 to 64, however long they take (as many as half a minute\n"
    "                   allows, at most 9)\n"
    "  --quick          one run with a fiftieth of the tasks: whether it works, no figures to quote\n"
    "  --workers N      workers, 1 to 250 (one per CPU this process may use)\n"
    "  --engine E       processes, threads or serial (processes)\n"
    "  --help           this text\n"
    "\n"
    "Everything that a program does for a task is timed: submit it, read its result, check it, release\n"
    "it. Rows that Ray's own microbenchmark has are called as there, and Ray's figure is beside them: as\n"
    "published, for another and larger machine; Ray is not run. Figures are median, least and most of the\n"
    "runs. Large puts need 2 GB of memory and a store of 1.6; without it they are left out, with a word.\n"
    "Compare only what was measured while nothing else ran.\n"
    "\n"
    "A line of JSON has question, case, contestant, unit, median, min, max, runs, n (how often in a run),\n"
    "params (workers, answer, cpu_ns: CPU time of all processes for one; published_ns, published_by:\n"
    "Ray's), commit (the version, or BENCH_COMMIT), cpus.\n"
    "\n"
    "Ends with 0; 1 when a row could not be measured or had a wrong answer; 2 when the options made no\n"
    "sense.\n";

typedef struct request {
    const char *only, *plot;
    long runs, workers;
    dm_engine engine;
    bool json, quick, help;
} request;

/* A row of all runs. */
typedef struct row {
    char name[64], unit[16], more[320];
    double values[MOST_RUNS], median;
    int runs;
    uint64_t n, answer;
    const published_figure *published;
} row;

typedef struct table {
    row rows[BENCH_PLOT_MOST];
    int count, next; /* next: of the run that is going on */
    bool differ;     /* from run to run, in something other than time */
} table;

/* ---- options ---- */

enum { OPT_JSON = 1, OPT_PLOT, OPT_ONLY, OPT_RUNS, OPT_QUICK, OPT_WORKERS, OPT_ENGINE, OPT_HELP };

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPT_JSON},
    {"plot", required_argument, NULL, OPT_PLOT},
    {"only", required_argument, NULL, OPT_ONLY},
    {"runs", required_argument, NULL, OPT_RUNS},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int usage(const char *option, const char *text, const char *expected)
{
    return command_usage(&command_bench_tasks, "%s is '%s'; %s was expected", option, text, expected);
}

static int take_option(int option, const char *text, request *r)
{
    switch (option) {
    case OPT_JSON: r->json = true; break;
    case OPT_PLOT: r->plot = text; break;
    case OPT_ONLY: r->only = text; break;
    case OPT_QUICK: r->quick = true; break;
    case OPT_HELP: r->help = true; break;
    case OPT_RUNS:
        if (!command_number(text, 1, MOST_RUNS, &r->runs))
            return usage("--runs", text, "a number from 1 to 64");
        break;
    case OPT_WORKERS:
        if (!command_number(text, 1, 250, &r->workers))
            return usage("--workers", text, "a number from 1 to 250");
        break;
    case OPT_ENGINE:
        if (!command_engine(text, &r->engine))
            return usage("--engine", text, "processes, threads or serial");
        break;
    default:
        return command_usage(&command_bench_tasks, "an option is unknown, incomplete or ambiguous");
    }
    return DM_EXIT_OK;
}

static int read_request(int argc, char **argv, request *r)
{
    *r = (request){.workers = bench_cpus(), .engine = DM_ENGINE_PROCESSES};
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int status = take_option(option, optarg, r);
        if (status != DM_EXIT_OK || r->help)
            return status;
    }
    if (optind < argc)
        return command_usage(&command_bench_tasks, "'%s' was not expected", argv[optind]);
    if (r->plot && !bench_gnuplot_possible())
        return command_usage(&command_bench_tasks, "--plot needs gnuplot, which is not in PATH; "
                                                   "Debian has it in gnuplot-nox");
    return DM_EXIT_OK;
}

/* ---- measuring ---- */

static void add(void *context, const bench_row *from)
{
    table *t = context;
    if (t->next == BENCH_PLOT_MOST)
        return;
    row *to = &t->rows[t->next++];
    if (to->runs == 0) {
        snprintf(to->name, sizeof to->name, "%s", from->name);
        snprintf(to->unit, sizeof to->unit, "%s", from->unit);
        to->n = from->n, to->answer = from->answer;
        to->published = published_figure_of(from->name);
        int used = snprintf(to->more, sizeof to->more, "%s", from->more ? from->more : "");
        if (to->published)
            snprintf(to->more + used, sizeof to->more - (size_t)used,
                     "%s\"published_ns\":%.6g,\"published_by\":\"%s, %s\"", used ? "," : "",
                     to->published->ns, to->published->by, to->published->machine);
        t->count = t->next;
    }
    if (strcmp(to->name, from->name) != 0 || to->n != from->n || to->answer != from->answer)
        t->differ = true;
    to->values[to->runs++] = from->value;
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\rrun %d: %s\033[K", to->runs, from->name);
}

static dm_status measure_once(const request *r, table *t)
{
    const dm_options session = {.workers = (int)r->workers, .engine = r->engine};
    DM_TRY(dm_init(&session));
    dmrt_rows rows = {.options = {.engine = command_engine_name(r->engine),
                                  .workers = (int)r->workers,
                                  .only = r->only,
                                  .scale = r->quick ? 0.02 : 1},
                      .report = add,
                      .context = t};
    t->next = 0;
    dmrt_rows_run(&rows);
    dm_shutdown();
    return t->differ ? dmi_error(DM_ERR_INVALID, "two runs did not do the same work") : DM_OK;
}

static dm_status measure(const request *r, table *t)
{
    const double started = command_seconds();
    long runs = r->runs ? r->runs : r->quick ? 1 : DEFAULT_RUNS;
    for (long done = 0; done < runs; done++) {
        double spent = command_seconds() - started;
        if (!r->runs && done > 0 && spent + spent / (double)done > PATIENCE_S)
            break;
        DM_TRY(measure_once(r, t));
    }
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    for (int i = 0; i < t->count; i++)
        t->rows[i].median = bench_median(t->rows[i].values, (size_t)t->rows[i].runs);
    return DM_OK;
}

/* ---- showing; values are sorted from here on ---- */

static double least(const row *r)
{
    return r->values[0];
}

static double most(const row *r)
{
    return r->values[r->runs - 1];
}

static void print_json(const request *r, const table *t)
{
    char contestant[32];
    snprintf(contestant, sizeof contestant, "dmrt %s", command_engine_name(r->engine));
    setenv("BENCH_COMMIT", dm_version(), 0);
    const bench_reporter who = {question, contestant, (int)r->workers};
    for (int i = 0; i < t->count; i++) {
        const row *of = &t->rows[i];
        const bench_row line = {.name = of->name, .unit = of->unit, .value = of->median, .n = of->n,
                                .answer = of->answer, .more = *of->more ? of->more : NULL};
        bench_print(stdout, &who, &line, least(of), most(of), of->runs);
    }
}

static void print_row(const row *r)
{
    printf("%-34s", r->name);
    bench_print_figure(r->median, r->unit, r->median);
    bench_print_figure(least(r), r->unit, r->median);
    bench_print_figure(most(r), r->unit, r->median);
    if (r->published) {
        bench_print_figure(r->published->ns, "ns", r->published->ns);
        const double ratio = r->published->ns / r->median;
        printf(" %10.*f", ratio < 10 ? 2 : 0, ratio);
    }
    putchar('\n');
}

static void print_table(const request *r, const table *t)
{
    printf("dmrt %s, engine %s: %ld worker%s on %d CPUs, %d run%s%s\n\n", dm_version(),
           command_engine_name(r->engine), r->workers, r->workers == 1 ? "" : "s", bench_cpus(),
           t->rows[0].runs, t->rows[0].runs == 1 ? "" : "s",
           r->quick ? ", quick: these are no figures to quote" : "");
    printf("%-34s %13s %13s %13s %13s %10s\n", "", "median", "least", "most", "Ray [1]", "Ray/dmrt");
    for (int i = 0; i < t->count; i++)
        print_row(&t->rows[i]);
    printf("\n[1] as published, for other and larger machines (64 CPUs); Ray was not run here\n");
}

static dm_status draw(const request *r, const table *t)
{
    bench_bar bars[BENCH_PLOT_MOST];
    int count = 0;
    for (int i = 0; i < t->count; i++) {
        const row *of = &t->rows[i];
        if (strcmp(of->unit, "ns") == 0)
            bars[count++] = (bench_bar){of->name, of->median, least(of), most(of),
                                        of->published ? of->published->ns : 0};
    }
    return bench_plot(bars, count, r->plot);
}

static int run(int argc, char **argv)
{
    static table t;
    request r;
    int code = read_request(argc, argv, &r);
    if (code != DM_EXIT_OK)
        return code;
    if (r.help)
        return command_help(&command_bench_tasks);
    dm_status status = measure(&r, &t);
    if (status != DM_OK)
        return command_failed();
    if (t.count == 0 && r.only)
        return command_usage(&command_bench_tasks, "--only is '%s'; the name of a row was expected, as "
                                                   "dm bench tasks --quick lists them", r.only);
    (r.json ? print_json : print_table)(&r, &t);
    if (r.plot && draw(&r, &t) != DM_OK)
        return command_failed();
    return fflush(stdout) == 0 ? DM_EXIT_OK : DM_EXIT_FAILED;
}

const command command_bench_tasks = {
    .name = "bench tasks",
    .summary = "what a task costs on this machine, in half a minute",
    .help = help_text,
    .run = run,
};
