/*
 * fit_command.h - what the commands that fit share: the options of all of them and how options are
 * read, the run from options to files, progress, and what is said at the end.
 *
 * A model brings its own options, checks, and what to do between reading and writing.
 */
#ifndef DM_FIT_COMMAND_H
#define DM_FIT_COMMAND_H

#include <getopt.h>

#include "dm/fit.h"
#include "runtime/dm/command.h"
#include "runtime/dm/figures.h"
#include "runtime/dm/fit_inputs.h"

/* What every fit can be asked. */
typedef struct fit_request {
    fit_files files;
    dm_fit_options cut;
    dm_options session;
    const char *out, *json;
    bool float64, force, help;
} fit_request;

/* A model's own options have numbers from here on. */
enum { FIT_OWN_OPTION = 100, FIT_MOST_OPTIONS = 40 };

typedef struct fit_command {
    const command *as;
    const char *noun;             /* in progress and reports: "csd" */
    const struct option *options; /* its own, ended by zeros */
    /* One of them; an exit status. */
    int (*take)(int option, const char *text, fit_request *r, void *own);
    /* Whether all of them go together; an exit status. NULL: always. */
    int (*check)(const fit_request *r, const void *own);
    /* With a session running: reads, fits, writes, tells. */
    dm_status (*fit)(const fit_request *r, const void *own);
} fit_command;

/* All of a fit command, for `run` of its `command`. `own` is the model's part of the request, with
 * its defaults. */
int fit_command_run(const fit_command *c, int argc, char **argv, void *own);

/* "--tau is '-1'; a number from 0 on was expected"; gives the exit status. */
int fit_usage(const fit_command *c, const char *option, const char *text, const char *expected);

/* ---- the way of all fits, once their inputs and outputs are open ---- */

/* Where the time went, in seconds. */
typedef struct fit_times {
    double reading, fitting, writing;
} fit_times;

/* Tells of one part of the way on a terminal, and has `options` end when the user wants it to. */
typedef struct fit_progress {
    const char *noun, *doing, *units;
    double started, shown;
    bool visible;
} fit_progress;

/* "csd: reading 34 % of 288 volumes". */
void fit_progress_begin(fit_progress *p, const fit_command *c, const char *doing,
                        const char *units, dm_fit_options *options);

/* A part that failed leaves its last line behind, too. Returns the seconds it took. */
double fit_progress_end(const fit_progress *p);

/* Whether --json FILE can be written: asked before anything is computed, and after --out was made, in which it may
 * lie. */
dm_status fit_check_figures(const fit_request *r) DM_NODISCARD;

/* Signals, with progress. */
dm_status fit_read_signals(const fit_command *c, const fit_request *r, fit_inputs *in,
                           fit_times *times) DM_NODISCARD;

/*
 * From now on SIGINT and SIGTERM end the fit in order. Called before the first file is made. Until then they end the
 * program where it stands: small files are read, and one may be a pipe that nobody ever writes to.
 */
void fit_listen_for_signals(void);

/* DM_ERR_CANCELLED once SIGINT or SIGTERM came; asked before files get their names. */
dm_status fit_check_stopped(void) DM_NODISCARD;

/* ---- what was done ---- */

/* Whether stdout is for people: the figures are not written there. */
bool fit_prints(const fit_request *r);

/* The line on size and speed; and one on voxels that became NaN, if some did. */
void fit_print_summary(const fit_command *c, const dm_fit_report *report, const dm_stats *session);
void fit_print_nan(const dm_fit_report *report);

/* The figures that all fits have. Yours: figures_destroy. */
figures *fit_figures_create(const fit_command *c, const fit_inputs *in,
                            const dm_fit_report *report, const fit_times *times,
                            const dm_stats *session);

/* ---- the parts of --help that are the same ---- */

#define FIT_HELP_INPUT                                                                             \
    "Input\n"                                                                                      \
    "  --dwi FILE            NIfTI-1, four dimensions (.nii, .nii.gz)\n"                           \
    "  --bval FILE           b-values in s/mm2, as FSL writes them\n"                              \
    "  --bvec FILE           unit vectors, three rows or three columns, used as they are\n"        \
    "  --mask FILE           fit where this is above 0 (all voxels)\n"                             \
    "  --volumes LIST|FILE   use only these volumes, from 0: 0,7-66, or a file of such (all)\n"    \
    "  --shells LIST         of these, only those with a b near one of LIST: 0,2000; near is\n"    \
    "                        within 50 s/mm2 or 5 %, 0 are the b0 (all; what is used is fitted\n"  \
    "                        together, whatever its b)\n"

#define FIT_HELP_FILES                                                                             \
    "  --force               replace files that are there\n"                                       \
    "  --json FILE           write the figures here, too; - for stdout\n"

#define FIT_HELP_HOW                                                                               \
    "How\n"                                                                                        \
    "  --workers N           worker processes (one per CPU this process may use)\n"                \
    "  --engine E            processes, threads or serial (processes)\n"                           \
    "  --chunks N            cut the voxels into so many tasks\n"                                  \
    "  --voxels-per-chunk N  or into tasks of so many voxels (as many as take some milliseconds,\n"  \
    "                        which is measured while it runs)\n"                                   \
    "  --help                this text\n"                                                          \
    "\n"                                                                                           \
    "An image may be larger than memory: a .nii is read where it lies, a .nii.gz is inflated once\n" \
    "into the store, which spills to disk what it has no room for (DM_STORE_BYTES, DM_SPILL_DIR).\n" \
    "The maps are the same to the last bit whatever is said under How. A voxel with NaN or\n"      \
    "infinity in its signal gets NaN, is counted, and does not stop the rest.\n"                   \
    "\n"                                                                                           \
    "Ends with 0 when all files are written; 1 when an input, the fit or an output failed (a\n"    \
    "message on stderr names the file, what was found and what was expected); 2 when the options\n" \
    "made no sense. Ctrl-C, or SIGTERM, ends it by that signal within a moment, and leaves no file.\n"

#endif
