/*
 * fit_csd_command.c - dm fit csd: what CSD adds to the options, files and figures of every fit.
 */
#include <stdio.h>
#include <string.h>

#include "runtime/dm/fit_command.h"
#include "runtime/dm/fit_outputs.h"

static const char help_text[] =
    "dm fit csd - constrained spherical deconvolution (Tournier 2007) of a diffusion image\n"
    "\n"
    "Usage: dm fit csd --dwi FILE --bval FILE --bvec FILE --out DIR [OPTION...]\n"
    "\n"
    FIT_HELP_INPUT
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
    FIT_HELP_FILES
    "\n"
    FIT_HELP_HOW;

typedef struct csd_wish {
    dm_csd_settings settings;
    fit_derived_wish derived;
} csd_wish;

/* ---- options ---- */

enum {
    OPT_RESPONSE = FIT_OWN_OPTION, OPT_FA, OPT_RESPONSE_MASK, OPT_LMAX, OPT_LAMBDA, OPT_TAU,
    OPT_ITERATIONS, OPT_BASIS, OPT_ODF, OPT_PEAKS
};

static const struct option own_options[] = {
    {"response", required_argument, NULL, OPT_RESPONSE},
    {"fa-threshold", required_argument, NULL, OPT_FA},
    {"response-mask", required_argument, NULL, OPT_RESPONSE_MASK},
    {"lmax", required_argument, NULL, OPT_LMAX},
    {"lambda", required_argument, NULL, OPT_LAMBDA},
    {"tau", required_argument, NULL, OPT_TAU},
    {"max-iterations", required_argument, NULL, OPT_ITERATIONS},
    {"basis", required_argument, NULL, OPT_BASIS},
    {"odf", no_argument, NULL, OPT_ODF},
    {"peaks", no_argument, NULL, OPT_PEAKS},
    {0},
};

static int take(int option, const char *text, fit_request *r, void *own);
static int check(const fit_request *r, const void *own);
static dm_status fit(const fit_request *r, const void *own);

static const fit_command csd = {.as = &command_csd,
                                .noun = "csd",
                                .options = own_options,
                                .take = take,
                                .check = check,
                                .fit = fit};

static int take_settings(int option, const char *text, dm_csd_settings *settings)
{
    long n;
    switch (option) {
    case OPT_LMAX:
        if (!command_number(text, 2, DM_SH_MAX_ORDER, &n) || n % 2)
            return fit_usage(&csd, "--lmax", text, "an even number from 2 to 12");
        settings->lmax = (int)n;
        break;
    case OPT_LAMBDA:
        if (!command_amount(text, &settings->lambda))
            return fit_usage(&csd, "--lambda", text, "a number from 0 on");
        break;
    case OPT_TAU:
        if (!command_amount(text, &settings->tau))
            return fit_usage(&csd, "--tau", text, "a number from 0 on");
        break;
    default:
        if (!command_number(text, 1, INT32_MAX, &n))
            return fit_usage(&csd, "--max-iterations", text, "a number from 1 to 2147483647");
        settings->max_iterations = (int)n;
        break;
    }
    return DM_EXIT_OK;
}

static int take_basis(const char *text, fit_derived_wish *derived)
{
    derived->basis = DM_SH_TOURNIER07;
    if (strcmp(text, "descoteaux07") == 0)
        derived->basis = DM_SH_DESCOTEAUX07_LEGACY;
    else if (strcmp(text, "tournier07") != 0)
        return fit_usage(&csd, "--basis", text, "descoteaux07 or tournier07");
    return DM_EXIT_OK;
}

static int take(int option, const char *text, fit_request *r, void *own)
{
    csd_wish *wish = own;
    switch (option) {
    case OPT_RESPONSE: r->files.response = text; break;
    case OPT_RESPONSE_MASK: r->files.response_mask = text; break;
    case OPT_ODF: wish->derived.odf = true; break;
    case OPT_PEAKS: wish->derived.peaks = true; break;
    case OPT_BASIS: return take_basis(text, &wish->derived);
    case OPT_FA:
        if (!command_fraction(text, &r->files.fa_threshold))
            return fit_usage(&csd, "--fa-threshold", text, "a number above 0 and below 1");
        break;
    default: return take_settings(option, text, &wish->settings);
    }
    return DM_EXIT_OK;
}

static int check(const fit_request *r, const void *own)
{
    (void)own;
    if (r->files.response && r->files.response_mask)
        return command_usage(csd.as, "--response and --response-mask exclude each other");
    return DM_EXIT_OK;
}

/* ---- what was done ---- */

static void print_report(const fit_request *r, const csd_wish *wish, const fit_inputs *in,
                         const dm_fit_report *report, const dm_stats *session)
{
    fit_print_summary(&csd, report, session);
    printf("response: %.6g %.6g %.6g mm2/s, S0 %.6g", in->response.evals[0], in->response.evals[1],
           in->response.evals[2], in->response.s0);
    if (in->n_response)
        printf(", from %zu voxels\n", in->n_response);
    else
        printf(", from %s\n", r->files.response);
    fit_print_nan(report);
    if (report->n_unconverged)
        printf("%zu voxels used all %d iterations\n", report->n_unconverged,
               wish->settings.max_iterations);
}

static dm_status write_figures(const fit_request *r, const csd_wish *wish, const fit_inputs *in,
                               const dm_fit_report *report, const fit_times *times,
                               const dm_stats *session)
{
    figures *f = fit_figures_create(&csd, in, report, times, session);
    figures_number(f, "lmax", wish->settings.lmax);
    figures *response = figures_within(f, "response");
    figures_number(response, "axial_mm2_per_s", in->response.evals[0]);
    figures_number(response, "radial_mm2_per_s", in->response.evals[1]);
    figures_number(response, "s0", in->response.s0);
    figures_number(response, "voxels", (double)in->n_response);
    dm_status status = figures_write(f, r->json);
    figures_destroy(f);
    return status;
}

static dm_status tell(const fit_request *r, const csd_wish *wish, const fit_inputs *in,
                      const fit_outputs *o, const dm_fit_report *report, const fit_times *times)
{
    dm_stats session;
    DM_TRY(dm_stats_get(&session));
    if (fit_prints(r)) {
        print_report(r, wish, in, report, &session);
        fit_outputs_print(o);
    }
    return r->json ? write_figures(r, wish, in, report, times, &session) : DM_OK;
}

/* ---- the fit ---- */

/* Made here only to hear what it has to say, before anything is computed or written. */
static dm_status warn_about_model(const fit_request *r, const csd_wish *wish, const fit_inputs *in)
{
    dm_csd *model;
    DM_TRY(dm_csd_create(&wish->settings, in->gradients, &in->response, &model));
    if (dm_csd_warning(model))
        fprintf(stderr, "dm: warning: %s: %s\n", r->files.bval, dm_csd_warning(model));
    dm_csd_destroy(model);
    return DM_OK;
}

static dm_status open_outputs(const fit_request *r, const csd_wish *wish, const fit_inputs *in,
                              fit_outputs *o)
{
    fit_derived_wish derived = wish->derived;
    derived.float64 = r->float64;
    derived.overwrite = r->force;
    return fit_outputs_open(o, r->out, &in->dwi->grid, wish->settings.lmax, &derived);
}

static dm_status fit_into(const fit_request *r, const csd_wish *wish, const fit_inputs *in,
                          fit_outputs *o, fit_times *times)
{
    dm_csd_fit_input input = {.gradients = in->gradients,
                              .response = in->response,
                              .settings = &wish->settings,
                              .signals = in->signals};
    dm_fit_options options = r->cut;
    fit_progress progress;
    dm_fit_report report;
    fit_progress_begin(&progress, &csd, "fitting", "voxels", &options);
    dm_status status = dm_fit_csd(&input, &options, &o->maps, &report);
    times->fitting = fit_progress_end(&progress);
    DM_TRY(status);
    const double fitted = command_seconds();
    DM_TRY(fit_outputs_finish(o));
    DM_TRY(fit_check_stopped());
    DM_TRY(fit_outputs_commit(o, &in->response));
    times->writing = command_seconds() - fitted;
    return tell(r, wish, in, o, &report, times);
}

static dm_status fit_all(const fit_request *r, const csd_wish *wish, fit_inputs *in, fit_outputs *o)
{
    fit_times times = {0};
    DM_TRY(fit_inputs_read(&r->files, in));
    DM_TRY(fit_inputs_choose_response(&r->files, in));
    fit_listen_for_signals();
    DM_TRY(open_outputs(r, wish, in, o));
    DM_TRY(fit_check_figures(r));
    DM_TRY(fit_read_signals(&csd, r, in, &times));
    DM_TRY(fit_inputs_find_response(&r->files, in));
    DM_TRY(warn_about_model(r, wish, in));
    return fit_into(r, wish, in, o, &times);
}

static dm_status fit(const fit_request *r, const void *own)
{
    fit_inputs in = {0};
    fit_outputs o = {0};
    dm_status status = fit_all(r, own, &in, &o);
    fit_outputs_fini(&o);
    fit_inputs_fini(&in);
    return status;
}

static int run(int argc, char **argv)
{
    csd_wish wish = {.settings = dm_csd_defaults()};
    return fit_command_run(&csd, argc, argv, &wish);
}

const command command_csd = {
    .name = "fit csd",
    .summary = "fibre orientations by constrained spherical deconvolution",
    .help = help_text,
    .run = run,
};
