/*
 * phantom_command.c - dm phantom: an image of any size to try fits on, written as it is made.
 *
 * What is in it is models/phantom.c's. Runs in this process alone.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dm/dm.h"
#include "dm/models.h"
#include "runtime/dm/command.h"

static const char help_text[] =
    "dm phantom - an image of tissues that are known, of any size\n"
    "\n"
    "Usage: dm phantom --shape X,Y,Z --scheme FILE --out FILE [OPTION...]\n"
    "\n"
    "  --shape X,Y,Z    voxels, of 1.25 mm\n"
    "  --scheme FILE    FILE.bval and FILE.bvec as FSL writes them, or one of the two: b-values "
    "and\n"
    "                   directions of the volumes\n"
    "  --out FILE       .nii or .nii.gz\n"
    "  --seed N         another phantom for each, from 0 on (0)\n"
    "  --snr X          S0 of white matter over the noise's sigma (25)\n"
    "  --type T         int16 or float32 (int16)\n"
    "  --force          replace a file that is there\n"
    "  --help           this text\n"
    "\n"
    "12 % of the voxels are fluid, 36 % grey matter, 28, 19 and 5 % one, two and three fibres, in\n"
    "random places, with some free water in each and Rician noise. Fits take as many iterations "
    "on\n"
    "it as on a brain. Memory does not grow with the image; a .nii.gz needs room for the .nii on\n"
    "disk while it is made.\n"
    "\n"
    "Ends with 0 when the file is written; 1 when an input or the output failed; 2 when the "
    "options\n"
    "made no sense.\n";

typedef struct request {
    dm_phantom_settings settings;
    const char *scheme, *out;
    bool shaped, force, help;
} request;

enum { OPT_SHAPE = 1, OPT_SCHEME, OPT_OUT, OPT_SEED, OPT_SNR, OPT_TYPE, OPT_FORCE, OPT_HELP };

static const struct option long_options[] = {
    {"shape", required_argument, NULL, OPT_SHAPE},
    {"scheme", required_argument, NULL, OPT_SCHEME},
    {"out", required_argument, NULL, OPT_OUT},
    {"seed", required_argument, NULL, OPT_SEED},
    {"snr", required_argument, NULL, OPT_SNR},
    {"type", required_argument, NULL, OPT_TYPE},
    {"force", no_argument, NULL, OPT_FORCE},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static int usage(const char *option, const char *text, const char *expected)
{
    return command_usage(&command_phantom, "%s is '%s'; %s was expected", option, text, expected);
}

static int take_option(int option, const char *text, request *r)
{
    long n;
    switch (option) {
    case OPT_SCHEME:
        r->scheme = text;
        break;
    case OPT_OUT:
        r->out = text;
        break;
    case OPT_FORCE:
        r->force = true;
        break;
    case OPT_HELP:
        r->help = true;
        break;
    case OPT_SHAPE:
        r->shaped = true;
        if (!command_shape(text, r->settings.shape))
            return usage("--shape", text, "three numbers from 1 to 32767, like 145,174,145,");
        break;
    case OPT_SEED:
        if (!command_number(text, 0, INT64_MAX, &n))
            return usage("--seed", text, "a number from 0 on");
        r->settings.seed = (uint64_t)n;
        break;
    case OPT_SNR:
        if (!command_amount(text, &r->settings.snr) || r->settings.snr == 0)
            return usage("--snr", text, "a number above 0");
        break;
    case OPT_TYPE:
        r->settings.type = strcmp(text, "float32") == 0 ? DM_VOLUME_F32 : DM_VOLUME_I16;
        if (r->settings.type != DM_VOLUME_F32 && strcmp(text, "int16") != 0)
            return usage("--type", text, "int16 or float32");
        break;
    default:
        return command_usage(&command_phantom, "an option is unknown, incomplete or ambiguous");
    }
    return DM_EXIT_OK;
}

static int read_request(int argc, char **argv, request *r)
{
    *r = (request){.settings = dm_phantom_defaults()};
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        int status = take_option(option, optarg, r);
        if (status != DM_EXIT_OK || r->help)
            return status;
    }
    if (optind < argc)
        return command_usage(&command_phantom, "'%s' was not expected", argv[optind]);
    const char *missing = !r->shaped   ? "--shape"
                          : !r->scheme ? "--scheme"
                          : !r->out    ? "--out"
                                       : NULL;
    return missing ? command_usage(&command_phantom, "%s is missing", missing) : DM_EXIT_OK;
}

/* Of "a/hcp", "a/hcp.bval" and "a/hcp.bvec": both files. */
static dm_status read_scheme(const char *scheme, dm_gradients **gradients)
{
    char bval[4096], bvec[4096];
    size_t n = strlen(scheme);
    if (n > 5 && (strcmp(scheme + n - 5, ".bval") == 0 || strcmp(scheme + n - 5, ".bvec") == 0))
        n -= 5;
    if (n + 6 > sizeof bval)
        return dmi_error(DM_ERR_INVALID, "--scheme: a name of %zu characters is too long", n);
    snprintf(bval, sizeof bval, "%.*s.bval", (int)n, scheme);
    snprintf(bvec, sizeof bvec, "%.*s.bvec", (int)n, scheme);
    return dm_gradients_read(bval, bvec, gradients);
}

static void show_progress(void *context, size_t n_done, size_t n_voxels)
{
    (void)context;
    fprintf(stderr, "\rphantom: %3.0f %% \033[K", 100. * (double)n_done / (double)n_voxels);
    if (n_done == n_voxels)
        fprintf(stderr, "\r\033[K");
}

static dm_status make(const request *r)
{
    dm_gradients *gradients;
    DM_TRY(read_scheme(r->scheme, &gradients));
    double started = command_seconds();
    dm_status status = dm_phantom_write(&r->settings, gradients, r->out, r->force,
                                        isatty(STDERR_FILENO) ? show_progress : NULL, NULL);
    const size_t *shape = r->settings.shape;
    if (status == DM_OK)
        printf("phantom: %zu x %zu x %zu voxels, %zu volumes: %.1f s\nwrote %s\n", shape[0],
               shape[1], shape[2], gradients->n_volumes, command_seconds() - started, r->out);
    dm_gradients_destroy(gradients);
    return status;
}

static int run(int argc, char **argv)
{
    request r;
    int status = read_request(argc, argv, &r);
    if (status != DM_EXIT_OK)
        return status;
    if (r.help)
        return command_help(&command_phantom);
    return make(&r) == DM_OK ? DM_EXIT_OK : command_failed();
}

const command command_phantom = {
    .name = "phantom",
    .summary = "an image of known tissues, of any size",
    .help = help_text,
    .run = run,
};
