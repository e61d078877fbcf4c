/*
 * study_command.c - dm bench study: the experiments of the study of DIPY on Ray, with one command.
 *
 * What is measured and how is bench/study's. Workers are this program with the same arguments, and get no further
 * than the first dm_init.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/study/protocol/study_cpus.h"
#include "bench/study/protocol/study_figures.h"
#include "bench/study/protocol/study_report.h"
#include "bench/study/protocol/study_spill.h"
#include "bench/study/protocol/study_sweep.h"
#include "bench/support/gnuplot.h"
#include "runtime/dm/command.h"
#include "runtime/dm/fit_folder.h"

enum { MOST_EXPONENT = 30, MOST_RUNS = 1000 };

static const char help_text[] =
    "dm bench study - a study's experiments: chunk sweeps of two fits, spilled bytes, their figures\n"
    "\n"
    "Usage: dm bench study --out DIR [OPTION...]\n"
    "\n"
    "  --out DIR        study.csv and spill.csv; what is there is not measured again. Made of them:\n"
    "                   study.md, tables; csdm_speedup.png, .svg and other figures (needs gnuplot)\n"
    "  --models M...    csdm (constrained spherical deconvolution), fwdtim (free-water tensor); both\n"
    "  --min-chunks K   numbers of chunks from 2^K (0)\n"
    "  --max-chunks K   to 2^K (15), no more than there are voxels\n"
    "  --num-runs N     of everything (5; --quick: 2)\n"
    "  --cpus LIST      as 1,2,4: that many CPUs, by affinity, with a worker each (1, 2, 4 .. all)\n"
    "  --data D         a folder with dwi.nii.gz, dwi.bval, dwi.bvec, and, if there, mask.nii.gz and\n"
    "                   response.txt; or phantom, made in memory (phantom)\n"
    "  --shape X,Y,Z    of the phantom (72,87,72: an eighth of the study's voxels; --quick: 32,32,32)\n"
    "  --spill-shape X,Y,Z\n"
    "                   of the phantom that is spilled, three times the store (32,32,48; --quick: 32,32,12)\n"
    "  --spill-models N one after the other, each of that size (6; --quick: 4)\n"
    "  --quick          two minutes on two cores: a task for each single voxel at 2^15 chunks\n"
    "  --only PART      sweep, spill, or figures: study.md and pictures again from what DIR has\n"
    "  --help           this text\n"
    "\n"
    "In each run each model is fitted without tasks in one process (engine serial), then on each number\n"
    "of CPUs in 2^K chunks (engine dmrt), in as many as the fit chooses itself (dmrt auto), and by\n"
    "dm_map (dmrt map). All results must have the same bits. A run is measured before the next begins,\n"
    "so that what is compared lies near in time; interrupted, it goes on where it was when started again.\n"
    "Then models follow each other in one process whose values are several times the store, under three\n"
    "policies of spilling, and another process looks at the disk; each is killed once, too.\n"
    "The whole takes 40 minutes on two cores. Measure while nothing else runs.\n"
    "\n"
    "Ends with 0; 1 when something could not be measured; 2 when the options made no sense.\n";

typedef struct request {
    const char *out, *data;
    const char *spill_run; /* the process that is watched: not for people */
    bool only_sweep, only_spill, only_figures;
    size_t shape[3], spill_shape[3];
    study_plan plan;
    int spill_models;
    bool shaped, spill_shaped, quick, help;
} request;

enum { OPT_OUT = 2, OPT_MODELS, OPT_MIN, OPT_MAX, OPT_RUNS, OPT_CPUS, OPT_DATA, OPT_SHAPE, OPT_QUICK,
       OPT_SPILL_SHAPE, OPT_SPILL_MODELS, OPT_ONLY, OPT_SPILL_RUN, OPT_HELP };

static const struct option long_options[] = {
    {"out", required_argument, NULL, OPT_OUT},
    {"models", required_argument, NULL, OPT_MODELS},
    {"min-chunks", required_argument, NULL, OPT_MIN},
    {"max-chunks", required_argument, NULL, OPT_MAX},
    {"num-runs", required_argument, NULL, OPT_RUNS},
    {"cpus", required_argument, NULL, OPT_CPUS},
    {"data", required_argument, NULL, OPT_DATA},
    {"shape", required_argument, NULL, OPT_SHAPE},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"spill-shape", required_argument, NULL, OPT_SPILL_SHAPE},
    {"spill-models", required_argument, NULL, OPT_SPILL_MODELS},
    {"only", required_argument, NULL, OPT_ONLY},
    {"spill-run", required_argument, NULL, OPT_SPILL_RUN},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

/* ---- options ---- */

static int usage(const char *option, const char *text, const char *expected)
{
    return command_usage(&command_bench_study, "%s is '%s'; %s was expected", option, text, expected);
}

static int take_model(const char *name, request *r)
{
    for (int m = 0; m < STUDY_MODELS; m++) {
        if (strcmp(study_models[m].name, name) != 0)
            continue;
        r->plan.models[m] = true;
        return DM_EXIT_OK;
    }
    return usage("--models", name, "csdm, fwdtim or both");
}

static int take_cpus(const char *text, request *r)
{
    long cpus;
    if (!command_number(text, 1, 4096, &cpus))
        return usage("--cpus", text, "numbers of CPUs, like 1,2,4,");
    int at = r->plan.n_cpus;
    while (at > 0 && r->plan.cpus[at - 1] > cpus)
        at--;
    if (at > 0 && r->plan.cpus[at - 1] == cpus)
        return DM_EXIT_OK;
    if (r->plan.n_cpus == STUDY_MOST_CPUS)
        return usage("--cpus", text, "no more than 64 numbers");
    memmove(&r->plan.cpus[at + 1], &r->plan.cpus[at], (size_t)(r->plan.n_cpus++ - at) * sizeof r->plan.cpus[0]);
    r->plan.cpus[at] = (int)cpus;
    return DM_EXIT_OK;
}

/* A list with commas, each for `take`. */
static int take_list(const char *text, int (*take)(const char *, request *), request *r)
{
    char one[64];
    for (;;) {
        const size_t length = strcspn(text, ",");
        snprintf(one, sizeof one, "%.*s", (int)length, text);
        const int status = take(one, r);
        if (status != DM_EXIT_OK || text[length] == 0)
            return status;
        text += length + 1;
    }
}

static int take_part(const char *text, request *r)
{
    r->only_sweep = strcmp(text, "sweep") == 0;
    r->only_spill = strcmp(text, "spill") == 0;
    r->only_figures = strcmp(text, "figures") == 0;
    return r->only_sweep || r->only_spill || r->only_figures ? DM_EXIT_OK
                                                               : usage("--only", text, "sweep, spill or figures");
}

static int take_number(const char *option, const char *text, long least, long most, int *to)
{
    char expected[64];
    long number;
    snprintf(expected, sizeof expected, "a number from %ld to %ld", least, most);
    if (!command_number(text, least, most, &number))
        return usage(option, text, expected);
    *to = (int)number;
    return DM_EXIT_OK;
}

/* `list`: what a word without an option belongs to, so that lists may have spaces. */
static int take_option(int option, const char *text, int *list, request *r)
{
    if (option == 1)
        option = *list;
    *list = option == OPT_MODELS || option == OPT_CPUS || option == OPT_SPILL_RUN ? option : 0;
    switch (option) {
    case 0: return command_usage(&command_bench_study, "'%s' was not expected", text);
    case OPT_OUT: r->out = text; break;
    case OPT_DATA: r->data = text; break;
    case OPT_QUICK: r->quick = true; break;
    case OPT_HELP: r->help = true; break;
    case OPT_ONLY: return take_part(text, r);
    case OPT_SPILL_RUN: *(r->spill_run ? &r->out : &r->spill_run) = text; break;
    case OPT_MODELS: return take_list(text, take_model, r);
    case OPT_CPUS: return take_list(text, take_cpus, r);
    case OPT_MIN: return take_number("--min-chunks", text, 0, MOST_EXPONENT, &r->plan.min_chunks);
    case OPT_MAX: return take_number("--max-chunks", text, 0, MOST_EXPONENT, &r->plan.max_chunks);
    case OPT_RUNS: return take_number("--num-runs", text, 1, MOST_RUNS, &r->plan.num_runs);
    case OPT_SPILL_MODELS: return take_number("--spill-models", text, 2, MOST_RUNS, &r->spill_models);
    case OPT_SHAPE:
        r->shaped = true;
        if (!command_shape(text, r->shape))
            return usage("--shape", text, "three numbers from 1 to 32767, like 72,87,72,");
        break;
    case OPT_SPILL_SHAPE:
        r->spill_shaped = true;
        if (!command_shape(text, r->spill_shape))
            return usage("--spill-shape", text, "three numbers from 1 to 32767, like 32,32,48,");
        break;
    default: return command_usage(&command_bench_study, "an option is unknown, incomplete or ambiguous");
    }
    return DM_EXIT_OK;
}

static int check_request(const request *r)
{
    if (r->out == NULL || *r->out == 0)
        return command_usage(&command_bench_study, "--out is missing");
    if (r->plan.min_chunks > r->plan.max_chunks)
        return command_usage(&command_bench_study, "--min-chunks is %d, above --max-chunks, %d", r->plan.min_chunks,
                             r->plan.max_chunks);
    if (r->shaped && strcmp(r->data, "phantom") != 0)
        return command_usage(&command_bench_study, "--shape is the phantom's, but --data is '%s'", r->data);
    return DM_EXIT_OK;
}

/* What was not said. */
static void fill_request(request *r)
{
    static const size_t half[3] = {72, 87, 72}, quick[3] = {32, 32, 32};
    static const size_t spilled[3] = {32, 32, 48}, spilled_quickly[3] = {32, 32, 12};
    if (!r->shaped)
        memcpy(r->shape, r->quick ? quick : half, sizeof r->shape);
    if (!r->spill_shaped)
        memcpy(r->spill_shape, r->quick ? spilled_quickly : spilled, sizeof r->spill_shape);
    if (r->spill_models == 0)
        r->spill_models = r->quick ? 4 : 6;
    if (r->plan.num_runs == 0)
        r->plan.num_runs = r->quick ? 2 : 5;
    if (!r->plan.models[0] && !r->plan.models[1])
        r->plan.models[0] = r->plan.models[1] = true;
    const char *commit = getenv("BENCH_COMMIT");
    r->plan.commit = commit && *commit && strpbrk(commit, ",\n") == NULL ? commit : dm_version();
}

static int read_request(int argc, char **argv, request *r)
{
    *r = (request){.data = "phantom", .plan = {.max_chunks = 15}};
    int option, list = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, "-", long_options, NULL)) != -1) {
        int status = take_option(option, optarg, &list, r);
        if (status != DM_EXIT_OK || r->help)
            return status;
    }
    fill_request(r);
    return check_request(r);
}

/* ---- measuring ---- */

/* If none were said: 1, 2, 4 .. and all. None that there are not. */
static int choose_cpus(study_plan *plan)
{
    const int all = study_cpus_allowed();
    if (plan->n_cpus == 0) {
        for (int cpus = 1; cpus < all; cpus *= 2)
            plan->cpus[plan->n_cpus++] = cpus;
        plan->cpus[plan->n_cpus++] = all;
    }
    const int most = plan->cpus[plan->n_cpus - 1];
    return most <= all ? DM_EXIT_OK
                       : command_usage(&command_bench_study, "--cpus has %d; this process may use %d", most, all);
}

static void show_progress(void *context, const study_row *next)
{
    (void)context;
    fprintf(stderr, "\rrun %d: %s, %s, %d CPU%s, %lld chunks\033[K", next->run, next->model, next->engine,
            next->cpu_count, next->cpu_count == 1 ? "" : "s", (long long)next->num_chunks);
}

static dm_status make_data(const request *r, study_data *data)
{
    const bool phantom = strcmp(r->data, "phantom") == 0;
    DM_TRY(phantom ? study_data_phantom(r->shape, data) : study_data_read(r->data, data));
    for (int m = 0; m < STUDY_MODELS; m++)
        if (r->plan.models[m] && study_models[m].needs_response)
            return study_data_response(phantom ? NULL : r->data, data);
    return DM_OK;
}

static dm_status sweep_into(const request *r, const char *path)
{
    study_data data = {0};
    study_table table = {.fd = -1};
    dm_status status = study_table_open(path, &table);
    if (status == DM_OK && table.torn)
        printf("%s: its last row was torn, and is measured again\n", path);
    const size_t before = table.count;
    if (status == DM_OK)
        status = make_data(r, &data);
    if (status == DM_OK)
        status = study_sweep(&r->plan, &data, &table);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (status == DM_OK)
        printf("%s: %zu rows, %zu of them new\n", path, table.count, table.count - before);
    study_data_fini(&data);
    study_table_close(&table);
    return status;
}

/* ---- the disk ---- */

static dm_status spill_into(const request *r, const char *path)
{
    char shape[64];
    char models[16];
    const char *const start[] = {"dm", "bench", "study", "--spill-shape", shape, "--spill-models", models,
                                 "--spill-run", NULL};
    snprintf(shape, sizeof shape, "%zu,%zu,%zu", r->spill_shape[0], r->spill_shape[1], r->spill_shape[2]);
    snprintf(models, sizeof models, "%d", r->spill_models);
    const study_spill_plan plan = study_spill_plan_of(r->spill_shape, r->spill_models);
    if (access(path, F_OK) == 0)
        return DM_OK;
    DM_TRY(study_spill_measure(&plan, start, r->plan.commit, path));
    printf("%s: made\n", path);
    return DM_OK;
}

/* What is watched. Its words go to who watches. */
static dm_status be_watched(const request *r)
{
    study_spill_case of;
    const study_spill_plan plan = study_spill_plan_of(r->spill_shape, r->spill_models);
    if (!study_spill_named(r->spill_run, &of))
        return dmi_error(DM_ERR_INVALID, "no experiment is called '%s'", r->spill_run);
    return study_spill_run(&plan, &of, r->out);
}

/* ---- figures ---- */

static dm_status write_report(const study_table *table, const study_spill_table *spill, const char *path)
{
    FILE *to = fopen(path, "w");
    if (to == NULL)
        return dmi_error(DM_ERR_IO, "%s: %s", path, strerror(errno));
    study_report_write(table, spill, to);
    if (fclose(to) != 0)
        return dmi_error(DM_ERR_IO, "%s: %s", path, strerror(errno));
    printf("wrote %s\n", path);
    return DM_OK;
}

static dm_status draw_tables(const study_table *table, const study_spill_table *spill, const char *directory)
{
    int drawn;
    if (!bench_gnuplot_possible()) {
        printf("no pictures: gnuplot is not in PATH (Debian has it in gnuplot-nox)\n");
        return DM_OK;
    }
    DM_TRY(study_figures_draw(table, spill, directory, &drawn));
    printf("wrote %d pictures in %s\n", drawn, directory);
    return DM_OK;
}

static dm_status make_of_tables(const char *study, const char *spilled, const char *report, const char *directory)
{
    study_table table = {.fd = -1};
    study_spill_table spill = {0};
    dm_status status = study_table_read(study, &table);
    if (status == DM_OK)
        status = study_spill_table_read(spilled, &spill);
    if (status == DM_OK && table.count == 0 && spill.count == 0)
        status = dmi_error(DM_ERR_IO, "%s, %s: neither has a row", study, spilled);
    if (status == DM_OK)
        status = write_report(&table, &spill, report);
    if (status == DM_OK)
        status = draw_tables(&table, &spill, directory);
    study_table_close(&table);
    study_spill_table_close(&spill);
    return status;
}

/* ---- all ---- */

static dm_status do_parts(const request *r, const char *study, const char *spilled, const char *report)
{
    if (!r->only_spill && !r->only_figures)
        DM_TRY(sweep_into(r, study));
    if (!r->only_sweep && !r->only_figures)
        DM_TRY(spill_into(r, spilled));
    return make_of_tables(study, spilled, report, r->out);
}

static dm_status do_all(const request *r)
{
    DM_TRY(fit_make_folder(r->out));
    char *study = fit_path(r->out, "study.csv"), *spilled = fit_path(r->out, "spill.csv");
    char *report = fit_path(r->out, "study.md");
    dm_status status = study && spilled && report ? do_parts(r, study, spilled, report)
                                                  : dmi_error(DM_ERR_NOMEM, "no memory for a path");
    free(study);
    free(spilled);
    free(report);
    return status;
}

static int run(int argc, char **argv)
{
    request r;
    int code = read_request(argc, argv, &r);
    if (code != DM_EXIT_OK)
        return code;
    if (r.help)
        return command_help(&command_bench_study);
    if (r.spill_run)
        return be_watched(&r) == DM_OK ? DM_EXIT_OK : command_failed();
    if (dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}) != DM_OK) /* a worker goes no further */
        return command_failed();
    dm_shutdown();
    code = choose_cpus(&r.plan);
    if (code != DM_EXIT_OK)
        return code;
    r.plan.progress = isatty(STDERR_FILENO) ? show_progress : NULL;
    return do_all(&r) == DM_OK ? DM_EXIT_OK : command_failed();
}

const command command_bench_study = {
    .name = "bench study",
    .summary = "a study's chunk sweeps and spilling, measured and drawn again",
    .help = help_text,
    .run = run,
};
