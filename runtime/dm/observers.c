/*
 * observers.c - from the command line of an observing command to its answer.
 *
 * Starts no session: these commands look at those of others.
 */
#include "runtime/dm/observers.h"

#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>

enum { TOP_DEFAULT = 20 };

typedef struct wish {
    pid_t pid; /* 0: the only one */
    uint32_t top;
    bool json, help;
} wish;

static const struct option options_of_status[] = {
    {"json", no_argument, NULL, 'j'}, {"help", no_argument, NULL, 'h'}, {0}};

static const struct option options_of_memory[] = {{"json", no_argument, NULL, 'j'},
                                                  {"top", required_argument, NULL, 't'},
                                                  {"help", no_argument, NULL, 'h'},
                                                  {0}};

static int read_options(const command *c, const struct option *known, int argc, char **argv, wish *w)
{
    int option;
    long n;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (option) {
        case 'j': w->json = true; break;
        case 'h': w->help = true; return DM_EXIT_OK;
        case 't':
            if (!command_number(optarg, 0, DMI_TOP_MOST, &n))
                return command_usage(c, "--top is '%s'; a number from 0 to %d was expected", optarg, DMI_TOP_MOST);
            w->top = (uint32_t)n;
            break;
        default:
            return command_usage(c, "an option is unknown, incomplete or ambiguous");
        }
    }
    return DM_EXIT_OK;
}

static int read_wish(const command *c, dmi_question question, int argc, char **argv, wish *w)
{
    long n;
    *w = (wish){.top = question == DMI_ASK_MEMORY ? TOP_DEFAULT : 0};
    const struct option *known = question == DMI_ASK_MEMORY ? options_of_memory : options_of_status;
    int code = read_options(c, known, argc, argv, w);
    if (code != DM_EXIT_OK || w->help || optind == argc)
        return code;
    if (!command_number(argv[optind], 1, INT_MAX, &n))
        return command_usage(c, "'%s' is no process id", argv[optind]);
    if (optind + 1 < argc)
        return command_usage(c, "'%s' was not expected: one program at a time", argv[optind + 1]);
    w->pid = (pid_t)n;
    return DM_EXIT_OK;
}

static int failed(const command *c, dm_status status)
{
    fprintf(stderr, "dm %s: %s\n", c->name, dm_last_error());
    return status == DM_ERR_NOT_RUNNING ? DM_EXIT_NONE : DM_EXIT_FAILED;
}

static dm_status print_json(const observation *o, dmi_question question)
{
    figures *f = figures_create();
    observation_to_figures(o, question == DMI_ASK_MEMORY, f);
    dm_status status = figures_write(f, "-");
    figures_destroy(f);
    return status;
}

static dm_status show(const observation *o, dmi_question question, bool json, void (*print)(const observation *o))
{
    if (json)
        return print_json(o, question);
    print(o);
    return fflush(stdout) == 0 ? DM_OK : dmi_error(DM_ERR_IO, "the answer cannot be written to stdout");
}

int observers_run(const command *c, dmi_question question, int argc, char **argv,
                  void (*print)(const observation *o))
{
    wish w;
    program of;
    observation o;
    int code = read_wish(c, question, argc, argv, &w);
    if (code != DM_EXIT_OK)
        return code;
    if (w.help)
        return command_help(c);
    dm_status status = programs_choose(w.pid, &of);
    if (status == DM_ERR_INVALID) {
        fprintf(stderr, "dm %s: %s\n", c->name, dm_last_error());
        return DM_EXIT_USAGE;
    }
    if (status != DM_OK)
        return failed(c, status);
    const dmi_request request = {question, w.top};
    status = observation_init(&o, &of, &request);
    if (status == DM_OK)
        status = show(&o, question, w.json, print);
    observation_finish(&o);
    return status == DM_OK ? DM_EXIT_OK : failed(c, status);
}

/* ---- printing ---- */

const char *observers_amount(char *to, uint64_t bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double amount = (double)bytes;
    int unit = 0;
    for (; amount >= 1024 && unit < 6; unit++)
        amount /= 1024;
    snprintf(to, AMOUNT_BYTES, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
    return to;
}

void observers_print_head(const observation *o)
{
    const dmi_totals_line *t = &o->totals;
    printf("%s, pid %" PRIu64 ", dmrt %s: engine %s, %" PRIu64 " worker%s\n", t->program, t->pid, t->version,
           t->engine, t->workers, t->workers == 1 ? "" : "s");
}

static void print_since_start(const dmi_totals_line *t)
{
    char a[AMOUNT_BYTES], b[AMOUNT_BYTES], c[AMOUNT_BYTES], d[AMOUNT_BYTES];
    printf("moved   %s written as %s", observers_amount(a, t->spilled_total),
           observers_amount(b, t->spilled_stored));
    if (!isnan(observation_compression(t)))
        printf(" (%.2f : 1), %.2f GB/s a thread", observation_compression(t), observation_spill_gb_s(t));
    printf("; %s read back", observers_amount(c, t->restored_total));
    if (!isnan(observation_restore_gb_s(t)))
        printf(", %.2f GB/s a thread", observation_restore_gb_s(t));
    printf("; %s given back to the disk", observers_amount(d, t->punched_total));
    if (t->objects_lost)
        printf("; %" PRIu64 " objects lost", t->objects_lost);
    putchar('\n');
}

void observers_print_store(const dmi_totals_line *t)
{
    char a[AMOUNT_BYTES], b[AMOUNT_BYTES], c[AMOUNT_BYTES], d[AMOUNT_BYTES];
    printf("store   %s of %s used (%.0f %%), %s committed, %s pinned\n", observers_amount(a, t->store_used),
           observers_amount(b, t->store_bytes),
           t->store_bytes ? 100.0 * (double)t->store_used / (double)t->store_bytes : 0.0,
           observers_amount(c, t->store_committed), observers_amount(d, t->pinned_bytes));
    printf("spill   policy %s, from %s on, to %s%s\n", t->spill_policy, observers_amount(a, t->spill_above),
           t->spill_dir, t->disk_punches || t->spill_files == 0 ? "" : " (which cannot give blocks back)");
    printf("disk    %" PRIu64 " objects of %s only there, %s being written; %s taken in %" PRIu64 " files\n",
           t->spilled_objects, observers_amount(a, t->spilled_bytes), observers_amount(b, t->spilling_bytes),
           observers_amount(c, t->disk_bytes), t->spill_files);
    print_since_start(t);
}
