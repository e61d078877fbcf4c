/*
 * fit_command.c - dm fit csd: options in, maps out, and what a person wants to know about it.
 *
 * The files are fit_inputs.c and fit_outputs.c, the fit is dm/fit.h. Nothing can be seen of this
 * program before dm_init (see command.h).
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "dm/fit.h"
#include "runtime/dm/command.h"
#include "runtime/dm/figures.h"
#include "runtime/dm/fit_derived.h"
#include "runtime/dm/fit_inputs.h"
#include "runtime/dm/fit_outputs.h"

static const char help_text[] =
    "dm fit csd - constrained spherical deconvolution (Tournier 2007) of a diffusion image\n"
    "\n"
    "Usage: dm fit csd --dwi FILE --bval FILE --bvec FILE --out DIR [OPTION...]\n"
    "\n"
    "Input\n"
    "  --dwi FILE            NIfTI-1, four dimensions (.nii, .nii.gz)\n"
    "  --bval FILE           b-values in s/mm2, as FSL writes them\n"
    "  --bvec FILE           unit vectors, three rows or three columns, used as they are\n"
    "  --mask FILE           fit where this is above 0 (all voxels)\n"
    "  --volumes LIST|FILE   use only these volumes, from 0: 0,7-66, or a file of such (all)\n"
    "  --shells LIST         of these, only those with a b near one of LIST: 0,2000; near is\n"
    "                        within 50 s/mm2 or 5 %, 0 are the b0 (all; all dwi are fitted\n"
    "                        together, whatever their b)\n"
    "  --response auto|FILE  auto: from the voxels of high FA in the central box of 21 voxels a\n"
    "                        side; or a file like the response.txt that is written (auto)\n"
    "  --fa-threshold X      what is high FA there, 0 to 1 (0.7)\n"
    "  --response-mask FILE  or from the voxels where this is above 0\n"
    "\n"
    "Model\n"
    "  --lmax N              highest order of the harmonics, even, 2 to 12 (8)\n"
    "  --lambda X            weight of the constraint, from 0 on (1)\n"
    "  --tau X               densities below X times their mean are constrained, from 0 on (0.1)\n"
    "  --max-iterations N    the most constrained solves of a voxel (50)\n"
    "\n"
    "Output\n"
    "  --out DIR             made if need be; gets\n"
    "                          csd_sh.nii.gz          coefficients\n"
    "                          csd_gfa.nii.gz         generalised fractional anisotropy\n"
    "                          csd_iterations.nii.gz  constrained solves per voxel\n"
    "                          response.txt           three eigenvalues in mm2/s, and S0\n"
    "                        with the affine and units of the input; 0 outside the mask\n"
    "  --basis B             of the coefficients. descoteaux07: DIPY's (legacy) order and signs,\n"
    "                        in the axes of the bvec file. tournier07: MRtrix3's, turned into the\n"
    "                        scanner's axes as it expects them (descoteaux07)\n"
    "  --odf                 also csd_odf.nii.gz: densities at the 362 directions of DIPY's\n"
    "                        symmetric362, and csd_gfa_odf.nii.gz, their GFA\n"
    "  --peaks               also csd_peaks.nii.gz: up to five peaks per voxel, each x y z times\n"
    "                        the density; in the axes of the coefficients\n"
    "  --float64             coefficients and other values in double precision (single)\n"
    "  --force               replace files that are there\n"
    "  --json FILE           write the figures here, too; - for stdout\n"
    "\n"
    "How\n"
    "  --workers N           worker processes (one per CPU this process may use)\n"
    "  --engine E            processes, threads or serial (processes)\n"
    "  --chunks N            cut the voxels into so many tasks\n"
    "  --voxels-per-chunk N  or into tasks of so many voxels (eight tasks per worker, at least 16\n"
    "                        and at most 1024 voxels each)\n"
    "  --help                this text\n"
    "\n"
    "The maps are the same to the last bit whatever is said under How. A voxel with NaN or\n"
    "infinity in its signal gets NaN, is counted, and does not stop the rest.\n"
    "\n"
    "Ends with 0 when all files are written; 1 when an input, the fit or an output failed (a\n"
    "message on stderr names the file, what was found and what was expected); 2 when the options\n"
    "made no sense.\n";

typedef struct csd_request {
    fit_files files;
    dm_csd_settings settings;
    fit_derived_wish derived;
    dm_fit_options cut;
    dm_options session;
    const char *out, *json;
    bool float64, force, help;
} csd_request;

/* ---- options ---- */

enum {
    OPT_DWI = 1, OPT_BVAL, OPT_BVEC, OPT_MASK, OPT_VOLUMES, OPT_RESPONSE, OPT_FA, OPT_LMAX,
    OPT_OUT, OPT_FLOAT64, OPT_FORCE, OPT_JSON, OPT_WORKERS, OPT_ENGINE, OPT_CHUNKS, OPT_VOXELS,
    OPT_HELP, OPT_SHELLS, OPT_RESPONSE_MASK, OPT_LAMBDA, OPT_TAU, OPT_ITERATIONS, OPT_BASIS,
    OPT_ODF, OPT_PEAKS
};

static const struct option long_options[] = {
    {"dwi", required_argument, NULL, OPT_DWI},
    {"bval", required_argument, NULL, OPT_BVAL},
    {"bvec", required_argument, NULL, OPT_BVEC},
    {"mask", required_argument, NULL, OPT_MASK},
    {"volumes", required_argument, NULL, OPT_VOLUMES},
    {"response", required_argument, NULL, OPT_RESPONSE},
    {"fa-threshold", required_argument, NULL, OPT_FA},
    {"shells", required_argument, NULL, OPT_SHELLS},
    {"response-mask", required_argument, NULL, OPT_RESPONSE_MASK},
    {"lmax", required_argument, NULL, OPT_LMAX},
    {"lambda", required_argument, NULL, OPT_LAMBDA},
    {"tau", required_argument, NULL, OPT_TAU},
    {"max-iterations", required_argument, NULL, OPT_ITERATIONS},
    {"basis", required_argument, NULL, OPT_BASIS},
    {"odf", no_argument, NULL, OPT_ODF},
    {"peaks", no_argument, NULL, OPT_PEAKS},
    {"out", required_argument, NULL, OPT_OUT},
    {"float64", no_argument, NULL, OPT_FLOAT64},
    {"force", no_argument, NULL, OPT_FORCE},
    {"json", required_argument, NULL, OPT_JSON},
    {"workers", required_argument, NULL, OPT_WORKERS},
    {"engine", required_argument, NULL, OPT_ENGINE},
    {"chunks", required_argument, NULL, OPT_CHUNKS},
    {"voxels-per-chunk", required_argument, NULL, OPT_VOXELS},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int usage_number(const char *option, const char *text, const char *expected)
{
    return command_usage(&command_csd, "%s is '%s'; %s was expected", option, text, expected);
}

/* Options that only CSD has. */
static int take_model(int option, const char *text, csd_request *r)
{
    long n;
    switch (option) {
    case OPT_LAMBDA:
        if (!command_amount(text, &r->settings.lambda))
            return usage_number("--lambda", text, "a number from 0 on");
        break;
    case OPT_TAU:
        if (!command_amount(text, &r->settings.tau))
            return usage_number("--tau", text, "a number from 0 on");
        break;
    case OPT_ITERATIONS:
        if (!command_number(text, 1, INT32_MAX, &n))
            return usage_number("--max-iterations", text, "a number from 1 on");
        r->settings.max_iterations = (int)n;
        break;
    case OPT_BASIS:
        r->derived.basis = DM_SH_TOURNIER07;
        if (strcmp(text, "descoteaux07") == 0)
            r->derived.basis = DM_SH_DESCOTEAUX07_LEGACY;
        else if (strcmp(text, "tournier07") != 0)
            return usage_number("--basis", text, "descoteaux07 or tournier07");
        break;
    default: break;
    }
    return DM_EXIT_OK;
}

static int take_number(int option, const char *text, csd_request *r)
{
    long n;
    switch (option) {
    case OPT_LMAX:
        if (!command_number(text, 2, DM_SH_MAX_ORDER, &n) || n % 2)
            return usage_number("--lmax", text, "an even number from 2 to 12");
        r->settings.lmax = (int)n;
        break;
    case OPT_WORKERS:
        if (!command_number(text, 1, 250, &n))
            return usage_number("--workers", text, "a number from 1 to 250");
        r->session.workers = (int)n;
        break;
    case OPT_CHUNKS:
        if (!command_number(text, 1, INT32_MAX, &n))
            return usage_number("--chunks", text, "a number from 1 on");
        r->cut.chunks = (size_t)n;
        break;
    default:
        if (!command_number(text, 1, INT32_MAX, &n))
            return usage_number("--voxels-per-chunk", text, "a number from 1 on");
        r->cut.voxels_per_chunk = (size_t)n;
        break;
    }
    return DM_EXIT_OK;
}

static int take_option(int option, const char *text, csd_request *r)
{
    switch (option) {
    case OPT_DWI: r->files.dwi = text; break;
    case OPT_BVAL: r->files.bval = text; break;
    case OPT_BVEC: r->files.bvec = text; break;
    case OPT_MASK: r->files.mask = text; break;
    case OPT_VOLUMES: r->files.volumes = text; break;
    case OPT_RESPONSE: r->files.response = text; break;
    case OPT_OUT: r->out = text; break;
    case OPT_JSON: r->json = text; break;
    case OPT_SHELLS: r->files.shells = text; break;
    case OPT_RESPONSE_MASK: r->files.response_mask = text; break;
    case OPT_ODF: r->derived.odf = true; break;
    case OPT_PEAKS: r->derived.peaks = true; break;
    case OPT_LAMBDA:
    case OPT_TAU:
    case OPT_ITERATIONS:
    case OPT_BASIS: return take_model(option, text, r);
    case OPT_FLOAT64: r->float64 = true; break;
    case OPT_FORCE: r->force = true; break;
    case OPT_HELP: r->help = true; break;
    case OPT_FA:
        if (!command_fraction(text, &r->files.fa_threshold))
            return usage_number("--fa-threshold", text, "a number above 0 and below 1");
        break;
    case OPT_ENGINE:
        if (!command_engine(text, &r->session.engine))
            return usage_number("--engine", text, "processes, threads or serial");
        break;
    case '?':
        return command_usage(&command_csd, "an option is unknown, incomplete or ambiguous");
    default:
        return take_number(option, text, r);
    }
    return DM_EXIT_OK;
}

static int check_request(const csd_request *r)
{
    const char *missing = !r->files.dwi    ? "--dwi"
                          : !r->files.bval ? "--bval"
                          : !r->files.bvec ? "--bvec"
                          : !r->out        ? "--out"
                                           : NULL;
    if (missing)
        return command_usage(&command_csd, "%s is missing", missing);
    if (!*r->out)
        return command_usage(&command_csd, "--out is empty; a folder was expected");
    if (r->cut.chunks && r->cut.voxels_per_chunk)
        return command_usage(&command_csd, "--chunks and --voxels-per-chunk exclude each other");
    if (r->files.response && r->files.response_mask)
        return command_usage(&command_csd, "--response and --response-mask exclude each other");
    return DM_EXIT_OK;
}

static int read_request(int argc, char **argv, csd_request *r)
{
    *r = (csd_request){.settings = dm_csd_defaults()};
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int status = take_option(option, optarg, r);
        if (status != DM_EXIT_OK || r->help)
            return status;
    }
    if (optind < argc)
        return command_usage(&command_csd, "'%s' was not expected", argv[optind]);
    return check_request(r);
}

/* ---- progress, on a terminal ---- */

typedef struct progress {
    double started, shown;
} progress;

static void show_progress(void *context, size_t n_done, size_t n_voxels)
{
    progress *p = context;
    double now = command_seconds();
    if (n_done < n_voxels && now - p->shown < 0.1)
        return;
    p->shown = now;
    double left = (now - p->started) / (double)n_done * (double)(n_voxels - n_done);
    fprintf(stderr, "\rcsd: %3.0f %% of %zu voxels, %.0f s left \033[K",
            100. * (double)n_done / (double)n_voxels, n_voxels, left);
}

/* A fit that failed leaves its last line behind, too. */
static void clear_progress(void)
{
    fprintf(stderr, "\r\033[K");
}

/* ---- what was done ---- */

static void print_files(const fit_outputs *o, const fit_derived *d)
{
    for (int i = 0; i < FIT_OUTPUT_FILES; i++)
        printf("wrote %s\n", o->paths[i]);
    for (int i = 0; i < FIT_DERIVED_FILES; i++)
        if (d->paths[i])
            printf("wrote %s\n", d->paths[i]);
}

static void print_report(const csd_request *r, const fit_inputs *in,
                         const dm_fit_report *report, const dm_stats *session)
{
    printf("csd: %zu voxels, %zu tasks, %d workers (%s): %.3f s, %.1f us per voxel\n",
           report->n_voxels, report->n_chunks, session->workers,
           command_engine_name(session->engine), report->seconds,
           1e6 * report->seconds / (double)report->n_voxels);
    printf("response: %.6g %.6g %.6g mm2/s, S0 %.6g", in->response.evals[0], in->response.evals[1],
           in->response.evals[2], in->response.s0);
    if (in->n_response)
        printf(", from %zu voxels\n", in->n_response);
    else
        printf(", from %s\n", r->files.response);
    if (report->n_nan)
        printf("%zu voxels had NaN or infinity in their signal and became NaN\n", report->n_nan);
    if (report->n_unconverged)
        printf("%zu voxels used all %d iterations\n", report->n_unconverged,
               r->settings.max_iterations);
}

static dm_status write_figures(const csd_request *r, const fit_inputs *in,
                               const dm_fit_report *report, const dm_stats *session)
{
    figures *f = figures_create();
    figures_text(f, "command", "fit csd");
    figures_text(f, "version", DM_VERSION_STRING);
    figures_text(f, "engine", command_engine_name(session->engine));
    figures_number(f, "workers", session->workers);
    figures_number(f, "volumes", (double)in->dwi->n_volumes);
    figures_number(f, "dwi", (double)in->gradients->n_dwi);
    figures_number(f, "lmax", r->settings.lmax);
    figures_number(f, "voxels", (double)report->n_voxels);
    figures_number(f, "tasks", (double)report->n_chunks);
    figures_number(f, "seconds", report->seconds);
    figures_number(f, "us_per_voxel", 1e6 * report->seconds / (double)report->n_voxels);
    figures_number(f, "nan_voxels", (double)report->n_nan);
    figures_number(f, "unconverged_voxels", (double)report->n_unconverged);
    figures_number(f, "tasks_retried", (double)session->tasks_retried);
    figures_number(f, "workers_lost", (double)session->workers_lost);
    figures *response = figures_within(f, "response");
    figures_number(response, "axial_mm2_per_s", in->response.evals[0]);
    figures_number(response, "radial_mm2_per_s", in->response.evals[1]);
    figures_number(response, "s0", in->response.s0);
    figures_number(response, "voxels", (double)in->n_response);
    dm_status status = figures_write(f, r->json);
    figures_destroy(f);
    return status;
}

static dm_status tell(const csd_request *r, const fit_inputs *in, const fit_outputs *o,
                      const fit_derived *d, const dm_fit_report *report)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    if (!r->json || strcmp(r->json, "-") != 0) {
        print_report(r, in, report, &session);
        print_files(o, d);
    }
    return r->json ? write_figures(r, in, report, &session) : DM_OK;
}

/* ---- the fit ---- */

/* Made here only to hear what it has to say, before anything is computed or written. */
static dm_status warn_about_model(const csd_request *r, const fit_inputs *in)
{
    dm_csd *model;
    DM_TRY(dm_csd_create(&r->settings, in->gradients, &in->response, &model));
    if (dm_csd_warning(model))
        fprintf(stderr, "dm: warning: %s: %s\n", r->files.bval, dm_csd_warning(model));
    dm_csd_destroy(model);
    return DM_OK;
}

static dm_status fit_into(const csd_request *r, const fit_inputs *in, fit_outputs *o,
                          fit_derived *d)
{
    fit_derived_wish wish = r->derived;
    wish.float64 = r->float64;
    wish.overwrite = r->force;
    DM_TRY(fit_derived_open(d, &wish, r->out, &in->dwi->grid, r->settings.lmax));
    DM_TRY(fit_outputs_open(o, r->out, &in->dwi->grid, dm_sh_count(r->settings.lmax), r->float64,
                            r->force));
    dm_csd_fit_input input = {in->dwi, in->gradients, in->mask, in->response, &r->settings};
    dm_fit_options options = r->cut;
    progress shown = {.started = command_seconds()};
    if (isatty(STDERR_FILENO)) {
        options.progress = show_progress;
        options.context = &shown;
    }
    dm_fit_report report;
    dm_status status = dm_fit_csd(&input, &options, &o->maps, &report);
    if (options.progress)
        clear_progress();
    DM_TRY(status);
    DM_TRY(fit_derived_fill(d, in->mask, o->maps.coefficients));
    DM_TRY(fit_derived_write(d));
    DM_TRY(fit_outputs_write(o, &in->response));
    return tell(r, in, o, d, &report);
}

static dm_status fit_csd(const csd_request *r)
{
    fit_inputs in;
    fit_outputs o = {0};
    fit_derived d = {0};
    dm_status status = fit_inputs_read(&r->files, &in);
    if (status == DM_OK)
        status = warn_about_model(r, &in);
    if (status == DM_OK)
        status = fit_into(r, &in, &o, &d);
    fit_derived_fini(&d);
    fit_outputs_fini(&o);
    fit_inputs_fini(&in);
    return status;
}

static int run(int argc, char **argv)
{
    csd_request r;
    int usage = read_request(argc, argv, &r);
    if (usage != DM_EXIT_OK)
        return usage;
    if (r.help)
        return command_help(&command_csd);
    if (dm_init(&r.session) != DM_OK)
        return command_failed();
    dm_status status = fit_csd(&r);
    int result = status == DM_OK ? DM_EXIT_OK : command_failed();
    dm_shutdown();
    return result;
}

const command command_csd = {
    .name = "fit csd",
    .summary = "fibre orientations by constrained spherical deconvolution",
    .help = help_text,
    .run = run,
};
