/*
 * fit_command.c - see fit_command.h. Nothing can be seen of this program before dm_init (see
 * command.h).
 */
#include "runtime/dm/fit_command.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- options ---- */

enum {
    OPT_DWI = 1, OPT_BVAL, OPT_BVEC, OPT_MASK, OPT_VOLUMES, OPT_SHELLS, OPT_OUT, OPT_FLOAT64,
    OPT_FORCE, OPT_JSON, OPT_WORKERS, OPT_ENGINE, OPT_CHUNKS, OPT_VOXELS, OPT_HELP
};

static const struct option shared_options[] = {
    {"dwi", required_argument, NULL, OPT_DWI},
    {"bval", required_argument, NULL, OPT_BVAL},
    {"bvec", required_argument, NULL, OPT_BVEC},
    {"mask", required_argument, NULL, OPT_MASK},
    {"volumes", required_argument, NULL, OPT_VOLUMES},
    {"shells", required_argument, NULL, OPT_SHELLS},
    {"out", required_argument, NULL, OPT_OUT},
    {"float64", no_argument, NULL, OPT_FLOAT64},
    {"force", no_argument, NULL, OPT_FORCE},
    {"json", required_argument, NULL, OPT_JSON},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"chunks", required_argument, NULL, OPT_CHUNKS},
    {"voxels-per-chunk", required_argument, NULL, OPT_VOXELS},
    {"help", no_argument, NULL, OPT_HELP},
};
enum { SHARED_OPTIONS = sizeof shared_options / sizeof shared_options[0] };

int fit_usage(const fit_command *c, const char *option, const char *text, const char *expected)
{
    return command_usage(c->as, "%s is '%s'; %s was expected", option, text, expected);
}

static int take_number(const fit_command *c, int option, const char *text, fit_request *r)
{
    long n;
    switch (option) {
    case OPT_WORKERS:
        if (!command_number(text, 1, 250, &n))
            return fit_usage(c, "--workers", text, "a number from 1 to 250");
        r->session.workers = (int)n;
        break;
    case OPT_CHUNKS:
        if (!command_number(text, 1, INT32_MAX, &n))
            return fit_usage(c, "--chunks", text, "a number from 1 to 2147483647");
        r->cut.chunks = (size_t)n;
        break;
    default:
        if (!command_number(text, 1, INT32_MAX, &n))
            return fit_usage(c, "--voxels-per-chunk", text, "a number from 1 to 2147483647");
        r->cut.voxels_per_chunk = (size_t)n;
        break;
    }
    return DM_EXIT_OK;
}

static int take_shared(const fit_command *c, int option, const char *text, fit_request *r)
{
    switch (option) {
    case OPT_DWI: r->files.dwi = text; break;
    case OPT_BVAL: r->files.bval = text; break;
    case OPT_BVEC: r->files.bvec = text; break;
    case OPT_MASK: r->files.mask = text; break;
    case OPT_VOLUMES: r->files.volumes = text; break;
    case OPT_SHELLS: r->files.shells = text; break;
    case OPT_OUT: r->out = text; break;
    case OPT_JSON: r->json = text; break;
    case OPT_FLOAT64: r->float64 = true; break;
    case OPT_FORCE: r->force = true; break;
    case OPT_HELP: r->help = true; break;
    case OPT_ENGINE:
        if (!command_engine(text, &r->session.engine))
            return fit_usage(c, "--engine", text, "processes, threads or serial");
        break;
    default: return take_number(c, option, text, r);
    }
    return DM_EXIT_OK;
}

static int check_request(const fit_command *c, const fit_request *r)
{
    const char *missing = !r->files.dwi    ? "--dwi"
                          : !r->files.bval ? "--bval"
                          : !r->files.bvec ? "--bvec"
                          : !r->out        ? "--out"
                                           : NULL;
    if (missing)
        return command_usage(c->as, "%s is missing", missing);
    if (r->cut.chunks && r->cut.voxels_per_chunk)
        return command_usage(c->as, "--chunks and --voxels-per-chunk exclude each other");
    return DM_EXIT_OK;
}

/* The shared options, then the model's own, ended by zeros. */
static void join_options(const fit_command *c, struct option all[FIT_MOST_OPTIONS])
{
    int n = SHARED_OPTIONS;
    memcpy(all, shared_options, sizeof shared_options);
    for (const struct option *own = c->options; own->name && n < FIT_MOST_OPTIONS - 1; own++)
        all[n++] = *own;
    all[n] = (struct option){0};
}

static int read_request(const fit_command *c, int argc, char **argv, fit_request *r, void *own)
{
    struct option all[FIT_MOST_OPTIONS];
    int option, which = 0;
    join_options(c, all);
    *r = (fit_request){0};
    optind = 1;
    while ((option = getopt_long(argc, argv, "", all, &which)) != -1) {
        int status = option == '?' ? command_usage(c->as, "an option is unknown, incomplete or "
                                                   "ambiguous")
                     : optarg && !*optarg ? command_usage(c->as, "--%s is empty", all[which].name)
                     : option >= FIT_OWN_OPTION ? c->take(option, optarg, r, own)
                                                : take_shared(c, option, optarg, r);
        if (status != DM_EXIT_OK || r->help)
            return status;
    }
    if (optind < argc)
        return command_usage(c->as, "'%s' was not expected", argv[optind]);
    int status = check_request(c, r);
    return status == DM_EXIT_OK && c->check ? c->check(r, own) : status;
}

/* ---- stopping ---- */

static volatile sig_atomic_t stop_signal;

static void note_signal(int signal)
{
    stop_signal = signal;
}

/* Once: whoever asks a second time does not want to wait. */
void fit_listen_for_signals(void)
{
    struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static bool is_stopped(void *context)
{
    (void)context;
    return stop_signal != 0;
}

dm_status fit_check_stopped(void)
{
    return stop_signal ? dmi_error(DM_ERR_CANCELLED, "stopped before the files got their names")
                       : DM_OK;
}

/* As if the signal had not been caught: a shell's loop over subjects ends, too. */
static void end_by_signal(void)
{
    const int signal = stop_signal;
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigaction(signal, &action, NULL);
    raise(signal);
}

int fit_command_run(const fit_command *c, int argc, char **argv, void *own)
{
    fit_request r;
    int usage = read_request(c, argc, argv, &r, own);
    if (usage != DM_EXIT_OK)
        return usage;
    if (r.help)
        return command_help(c->as);
    if (dm_init(&r.session) != DM_OK)
        return command_failed();
    dm_status status = c->fit(&r, own);
    int result = status == DM_OK ? DM_EXIT_OK : command_failed();
    dm_shutdown();
    if (status == DM_ERR_CANCELLED)
        end_by_signal();
    return result;
}

/* ---- before it begins ---- */

/* Whether a file could be made at `path`, where there is none. */
static dm_status check_folder(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (access(folder, W_OK | X_OK) == 0)
        return DM_OK;
    return dmi_error(DM_ERR_IO, "%s: cannot be written: folder %s: %s; make it, or give another --json", path, folder,
                     strerror(errno));
}

/* The figures are a file of ours as the maps are. What is no regular file, like a pipe, has nothing to lose. */
dm_status fit_check_figures(const fit_request *r)
{
    struct stat found;
    if (!r->json || !fit_prints(r))
        return DM_OK;
    if (stat(r->json, &found) != 0)
        return check_folder(r->json);
    if (S_ISREG(found.st_mode) && !r->force)
        return dmi_error(DM_ERR_IO, "%s: a file was found here already; give --force to replace it, or another --json",
                         r->json);
    if (!S_ISDIR(found.st_mode) && access(r->json, W_OK) == 0)
        return DM_OK;
    return dmi_error(DM_ERR_IO, "%s: cannot be written: %s; give another --json", r->json,
                     strerror(S_ISDIR(found.st_mode) ? EISDIR : errno));
}

/* ---- progress ---- */

static void show_progress(void *context, size_t n_done, size_t n)
{
    fit_progress *p = context;
    double now = command_seconds();
    if (!p->visible || (n_done < n && now - p->shown < 0.1))
        return;
    p->shown = now;
    double left = (now - p->started) / (double)n_done * (double)(n - n_done);
    fprintf(stderr, "\r%s: %s %3.0f %% of %zu %s, %.0f s left \033[K", p->noun, p->doing,
            100. * (double)n_done / (double)n, n, p->units, left);
}

void fit_progress_begin(fit_progress *p, const fit_command *c, const char *doing,
                        const char *units, dm_fit_options *options)
{
    *p = (fit_progress){
        .noun = c->noun, .doing = doing, .units = units, .started = command_seconds()};
    p->visible = isatty(STDERR_FILENO);
    options->progress = show_progress;
    options->stop = is_stopped;
    options->context = p;
}

double fit_progress_end(const fit_progress *p)
{
    if (p->visible)
        fprintf(stderr, "\r\033[K");
    return command_seconds() - p->started;
}

dm_status fit_read_signals(const fit_command *c, const fit_request *r, fit_inputs *in,
                           fit_times *times)
{
    fit_progress progress;
    dm_fit_options options = {0};
    fit_progress_begin(&progress, c, "reading", "volumes", &options);
    dm_status status = fit_inputs_read_signals(&r->files, in, &options);
    times->reading = fit_progress_end(&progress);
    return status;
}

/* ---- what was done ---- */

bool fit_prints(const fit_request *r)
{
    return !r->json || strcmp(r->json, "-") != 0;
}

static double us_per_voxel(const dm_fit_report *report)
{
    return 1e6 * report->seconds / (double)report->n_voxels;
}

void fit_print_summary(const fit_command *c, const dm_fit_report *report, const dm_stats *session)
{
    printf("%s: %zu voxels, %zu tasks, %d workers (%s): %.3f s, %.1f us per voxel\n", c->noun,
           report->n_voxels, report->n_chunks, session->workers,
           command_engine_name(session->engine), report->seconds, us_per_voxel(report));
}

void fit_print_nan(const dm_fit_report *report)
{
    if (report->n_nan)
        printf("%zu voxels had NaN or infinity in their signal and became NaN\n", report->n_nan);
}

figures *fit_figures_create(const fit_command *c, const fit_inputs *in,
                            const dm_fit_report *report, const fit_times *times,
                            const dm_stats *session)
{
    figures *f = figures_create();
    figures_text(f, "command", c->as->name);
    figures_text(f, "version", DM_VERSION_STRING);
    figures_text(f, "engine", command_engine_name(session->engine));
    figures_number(f, "workers", session->workers);
    figures_number(f, "volumes", (double)in->dwi->n_volumes);
    figures_number(f, "dwi", (double)in->gradients->n_dwi);
    figures_number(f, "voxels", (double)report->n_voxels);
    figures_number(f, "tasks", (double)report->n_chunks);
    figures_number(f, "seconds", report->seconds);
    figures_number(f, "reading_seconds", times->reading);
    figures_number(f, "writing_seconds", times->writing);
    figures_number(f, "us_per_voxel", us_per_voxel(report));
    figures_number(f, "nan_voxels", (double)report->n_nan);
    figures_number(f, "unconverged_voxels", (double)report->n_unconverged);
    figures_number(f, "tasks_retried", (double)session->tasks_retried);
    figures_number(f, "workers_lost", (double)session->workers_lost);
    figures_number(f, "store_bytes", (double)session->store_bytes);
    figures_number(f, "spilled_bytes", (double)session->spilled_total);
    return f;
}
