/*
 * demo.c - dm demo: CSD of the two small real data sets of tests/data, alone and with worker
 * processes, checked bit by bit and against DIPY's results; a table, maps, and a picture.
 *
 * The checks are reference_check.c, the picture fibre_picture.c. What is timed is said in the
 * table's notes and nowhere flattered: reading, writing and starting workers is not in it, cutting,
 * sending, gathering and filling maps is.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dm/fit.h"
#include "runtime/dm/command.h"
#include "runtime/dm/fibre_picture.h"
#include "runtime/dm/figures.h"
#include "runtime/dm/fit_inputs.h"
#include "runtime/dm/fit_outputs.h"
#include "runtime/dm/reference_check.h"

static const char help_text[] =
    "dm demo - fit CSD to two small pieces of real brain and show what came out\n"
    "\n"
    "Usage: dm demo [OPTION...]\n"
    "\n"
    "  --data DIR    where the folders s64 and s101 are (tests/data)\n"
    "  --out DIR     where maps and the picture are written, over older ones (build/demo)\n"
    "  --workers N   worker processes (one per CPU this process may use)\n"
    "  --json FILE   write the figures here, too; - for stdout, instead of the table\n"
    "  --help        this text\n"
    "\n"
    "Each set is fitted by this process alone, by tasks in worker processes, and by tasks of a\n"
    "single voxel. All three must give the same bits, and these must agree with DIPY's results,\n"
    "which lie beside the data.\n"
    "\n"
    "Ends with 0 when all of that held; 1 when something failed or disagreed (stderr says what);\n"
    "2 when the options made no sense.\n";

enum { REPEATS = 5, LMAX = 8 };

typedef struct demo_request {
    const char *data, *out, *json;
    dm_options session;
    bool help;
} demo_request;

/* One data set and everything found out about it. */
typedef struct demo_set {
    const char *name, *title;
    double fa_threshold; /* of the response, as DIPY was told */
    char *folder, *picture;
    fit_inputs in;
    dm_volume *dwi;                 /* in memory: it is fitted again and again */
    fit_outputs files;              /* single precision, written */
    dm_csd_maps alone, tasks, ones; /* double precision, compared */
    dm_fit_report alone_report, tasks_report, ones_report;
    bool same_bits;
    reference_deviation deviation;
} demo_set;

/* ---- options ---- */

static const struct option long_options[] = {
    {"data", required_argument, NULL, 'd'},    {"out", required_argument, NULL, 'o'},
    {"workers", required_argument, NULL, 'w'}, {"json", required_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},          {0},
};

static int read_request(int argc, char **argv, demo_request *r)
{
    *r = (demo_request){.data = "tests/data", .out = "build/demo"};
    int option;
    long n;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'd': r->data = optarg; break;
        case 'o': r->out = optarg; break;
        case 'j': r->json = optarg; break;
        case 'h': r->help = true; return DM_EXIT_OK;
        case 'w':
            if (!command_number(optarg, 1, 250, &n))
                return command_usage(&command_demo, "--workers is '%s'; a number from 1 to 250 was "
                                     "expected", optarg);
            r->session.workers = (int)n;
            break;
        default:
            return command_usage(&command_demo, "an option is unknown, incomplete or ambiguous");
        }
    }
    if (optind < argc)
        return command_usage(&command_demo, "'%s' was not expected", argv[optind]);
    return DM_EXIT_OK;
}

/* ---- one set ---- */

static dm_status read_set(demo_set *s, const char *data)
{
    char folder[1024], dwi[1100], bval[1100], bvec[1100], mask[1100], volumes[1100];
    snprintf(folder, sizeof folder, "%s/%s", data, s->name);
    snprintf(dwi, sizeof dwi, "%s/dwi.nii.gz", folder);
    snprintf(bval, sizeof bval, "%s/dwi.bval", folder);
    snprintf(bvec, sizeof bvec, "%s/dwi.bvec", folder);
    snprintf(mask, sizeof mask, "%s/mask.nii.gz", folder);
    snprintf(volumes, sizeof volumes, "%s/csd_vols.txt", folder);
    fit_files files = {.dwi = dwi,
                       .bval = bval,
                       .bvec = bvec,
                       .mask = mask,
                       .volumes = volumes,
                       .response = "auto",
                       .fa_threshold = s->fa_threshold};
    s->folder = strdup(folder);
    if (!s->folder)
        return dmi_error(DM_ERR_NOMEM, "no memory for a path");
    DM_TRY(fit_inputs_read(&files, &s->in));
    DM_TRY(fit_about(dwi, dm_image_file_read(s->in.file, &s->dwi)));
    DM_TRY(fit_inputs_choose_response(&files, &s->in));
    DM_TRY(fit_inputs_read_signals(&files, &s->in, NULL));
    return fit_inputs_find_response(&files, &s->in);
}

static dm_status make_maps(demo_set *s, const char *out)
{
    size_t n_coefficients = dm_sh_count(LMAX);
    const dm_grid *grid = &s->in.dwi->grid;
    char *folder = fit_path(out, s->name);
    s->picture = folder ? fit_path(folder, "fibres.png") : NULL;
    dm_status status = s->picture
                           ? fit_outputs_open(&s->files, folder, grid, LMAX,
                                              &(fit_derived_wish){.overwrite = true})
                           : dmi_error(DM_ERR_NOMEM, "no memory for a path");
    free(folder);
    DM_TRY(status);
    DM_TRY(fit_maps_create(grid, n_coefficients, true, &s->alone));
    DM_TRY(fit_maps_create(grid, n_coefficients, true, &s->tasks));
    return fit_maps_create(grid, n_coefficients, true, &s->ones);
}

static void keep_fastest(const dm_fit_report *report, dm_fit_report *fastest)
{
    if (fastest->seconds == 0 || report->seconds < fastest->seconds)
        *fastest = *report;
}

/* One after the other and again, so that whatever else the machine does hits all three alike. */
static dm_status time_fits(demo_set *s, const dm_csd_fit_input *input)
{
    for (int i = 0; i < REPEATS; i++) {
        dm_fit_report report;
        DM_TRY(dm_fit_csd_alone(input, &s->alone, &report));
        keep_fastest(&report, &s->alone_report);
        DM_TRY(dm_fit_csd(input, NULL, &s->tasks, &report));
        keep_fastest(&report, &s->tasks_report);
        DM_TRY(dm_fit_csd(input, &(dm_fit_options){.voxels_per_chunk = 1}, &s->ones, &report));
        keep_fastest(&report, &s->ones_report);
    }
    return DM_OK;
}

static dm_status fit_set(demo_set *s)
{
    dm_csd_settings settings = dm_csd_defaults();
    settings.lmax = LMAX;
    dm_csd_fit_input input = {s->dwi, s->in.gradients, s->in.mask, s->in.response, &settings, NULL};
    DM_TRY(time_fits(s, &input));
    DM_TRY(dm_fit_csd(&input, NULL, &s->files.maps, NULL));
    s->same_bits = maps_same_bits(&s->alone, &s->tasks) && maps_same_bits(&s->alone, &s->ones);
    return reference_compare(s->folder, &s->tasks, s->in.mask, &s->deviation);
}

static dm_status write_set(demo_set *s)
{
    DM_TRY(fit_outputs_finish(&s->files));
    DM_TRY(fit_outputs_commit(&s->files, &s->in.response));
    return fibre_picture_write(&s->tasks, s->in.mask, LMAX, s->title, s->picture);
}

static void set_fini(demo_set *s)
{
    fit_inputs_fini(&s->in);
    dm_volume_destroy(s->dwi);
    fit_outputs_fini(&s->files);
    fit_maps_destroy(&s->alone);
    fit_maps_destroy(&s->tasks);
    fit_maps_destroy(&s->ones);
    free(s->folder);
    free(s->picture);
}

/* ---- figures ---- */

static double us_per_voxel(const dm_fit_report *report)
{
    return 1e6 * report->seconds / (double)report->n_voxels;
}

static double speed_up(const demo_set *s)
{
    return s->alone_report.seconds / s->tasks_report.seconds;
}

/* What a task costs beside its voxel: the time of all cores that the fit alone does not need. */
static double task_overhead_us(const demo_set *s, int workers)
{
    double spent = s->ones_report.seconds * workers - s->alone_report.seconds;
    return 1e6 * spent / (double)s->ones_report.n_chunks;
}

/* The same work on the same cores, cut finer: free of what busy cores do to each other. */
static double one_more_task_us(const demo_set *s, int workers)
{
    double longer = (s->ones_report.seconds - s->tasks_report.seconds) * workers;
    return 1e6 * longer / (double)(s->ones_report.n_chunks - s->tasks_report.n_chunks);
}

static void print_table(const demo_set *sets, int n, int workers)
{
    printf("%-34s", "CSD, l_max 8");
    for (int i = 0; i < n; i++)
        printf(" %12s", sets[i].name);
#define ROW(label, format, value)                                                                  \
    printf("\n%-34s", label);                                                                      \
    for (int i = 0; i < n; i++)                                                                    \
    printf(" " format, value)
    ROW("voxels", "%12zu", sets[i].alone_report.n_voxels);
    ROW("weighted volumes", "%12zu", sets[i].in.gradients->n_dwi);
    ROW("alone, us per voxel", "%12.2f", us_per_voxel(&sets[i].alone_report));
    ROW("with workers, us per voxel", "%12.2f", us_per_voxel(&sets[i].tasks_report));
    ROW("  tasks", "%12zu", sets[i].tasks_report.n_chunks);
    ROW("  speed-up", "%12.2f", speed_up(&sets[i]));
    ROW("one voxel per task, us per voxel", "%12.2f", us_per_voxel(&sets[i].ones_report));
    ROW("  tasks", "%12zu", sets[i].ones_report.n_chunks);
    ROW("  overhead per task, us", "%12.2f", task_overhead_us(&sets[i], workers));
    ROW("  one more task costs, us", "%12.2f", one_more_task_us(&sets[i], workers));
    ROW("same bits, all three", "%12s", sets[i].same_bits ? "yes" : "NO");
    ROW("largest deviation from DIPY", "%12.1e", sets[i].deviation.largest);
    ROW("iterations as DIPY's, % of voxels", "%12.2f", 100 * sets[i].deviation.iterations_equal);
#undef ROW
    printf("\n\n%d workers. Times are the fastest of %d.\n"
           "Alone: this process, one thread, no tasks.\n"
           "Overhead per task: (wall time of one voxel per task x %d - time alone) / tasks, so it\n"
           "counts all that is not the fit: idle cores, and cores that slow each other down.\n"
           "One more task: (wall time of one voxel per task - with workers) x %d / tasks more.\n"
           "Deviation: largest |c - c_DIPY| / largest |c_DIPY| of a voxel; at most %.0e is asked\n"
           "for in %.1f %% of the voxels.\n\n",
           workers, REPEATS, workers, workers, REFERENCE_BOUND, 100 * REFERENCE_SHARE);
}

static void print_files(const demo_set *sets, int n)
{
    for (int i = 0; i < n; i++) {
        fit_folder_print(&sets[i].files.folder);
        printf("wrote %s\n", sets[i].picture);
    }
}

static dm_status write_figures(const demo_set *sets, int n, int workers, const char *path)
{
    figures *all = figures_create();
    figures_text(all, "command", "demo");
    figures_text(all, "version", DM_VERSION_STRING);
    figures_number(all, "workers", workers);
    for (int i = 0; i < n; i++) {
        const demo_set *s = &sets[i];
        figures *f = figures_within(all, s->name);
        figures_number(f, "voxels", (double)s->alone_report.n_voxels);
        figures_number(f, "alone_us_per_voxel", us_per_voxel(&s->alone_report));
        figures_number(f, "tasks", (double)s->tasks_report.n_chunks);
        figures_number(f, "tasks_us_per_voxel", us_per_voxel(&s->tasks_report));
        figures_number(f, "speed_up", speed_up(s));
        figures_number(f, "one_voxel_per_task_us_per_voxel", us_per_voxel(&s->ones_report));
        figures_number(f, "task_overhead_us", task_overhead_us(s, workers));
        figures_number(f, "one_more_task_us", one_more_task_us(s, workers));
        figures_flag(f, "same_bits", s->same_bits);
        figures_number(f, "largest_deviation", s->deviation.largest);
        figures_number(f, "share_within_bound", s->deviation.within_bound);
        figures_number(f, "share_iterations_equal", s->deviation.iterations_equal);
        figures_text(f, "picture", s->picture);
    }
    dm_status status = figures_write(all, path);
    figures_destroy(all);
    return status;
}

/* ---- all ---- */

static dm_status judge(const demo_set *sets, int n)
{
    for (int i = 0; i < n; i++) {
        const demo_set *s = &sets[i];
        if (!s->same_bits)
            return dmi_error(DM_ERR_NUMERIC, "%s: the bits of the fit alone and by tasks differ",
                             s->name);
        if (s->deviation.within_bound < REFERENCE_SHARE ||
            s->deviation.iterations_equal < REFERENCE_SHARE)
            return dmi_error(DM_ERR_NUMERIC,
                             "%s: %.2f %% of the voxels agree with DIPY and %.2f %% in the number "
                             "of iterations; %.1f %% were expected", s->name,
                             100 * s->deviation.within_bound, 100 * s->deviation.iterations_equal,
                             100 * REFERENCE_SHARE);
    }
    return DM_OK;
}

static dm_status demonstrate(const demo_request *r, demo_set *sets, int n)
{
    for (int i = 0; i < n; i++) {
        DM_TRY(read_set(&sets[i], r->data));
        DM_TRY(make_maps(&sets[i], r->out));
        DM_TRY(fit_set(&sets[i]));
        DM_TRY(write_set(&sets[i]));
    }
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    if (!r->json || strcmp(r->json, "-") != 0) {
        print_table(sets, n, session.workers);
        print_files(sets, n);
    }
    if (r->json)
        DM_TRY(write_figures(sets, n, session.workers, r->json));
    return judge(sets, n);
}

static int run(int argc, char **argv)
{
    demo_request r;
    int usage = read_request(argc, argv, &r);
    if (usage != DM_EXIT_OK)
        return usage;
    if (r.help)
        return command_help(&command_demo);
    if (dm_init(&r.session) != DM_OK)
        return command_failed();
    demo_set sets[] = {
        {.name = "s64", .title = "S64", .fa_threshold = 0.7},
        {.name = "s101", .title = "S101", .fa_threshold = 0.6},
    };
    int n = sizeof sets / sizeof sets[0];
    dm_status status = demonstrate(&r, sets, n);
    int result = status == DM_OK ? DM_EXIT_OK : command_failed();
    dm_shutdown();
    for (int i = 0; i < n; i++)
        set_fini(&sets[i]);
    return result;
}

const command command_demo = {
    .name = "demo",
    .summary = "fit two small pieces of real brain, check and draw the result",
    .help = help_text,
    .run = run,
};
