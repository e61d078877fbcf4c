/*
 * command.c - the dm command: which subcommand is meant, and the little that all of them need.
 *
 * Does no work of its own, and nothing that can be seen before a subcommand has called dm_init:
 * dm_init starts workers by running this program again.
 */
#include <errno.h>
#include <float.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/dm/command.h"

static const command *const commands[] = {&command_csd,  &command_fwdti,  &command_demo,
                                          &command_phantom, &command_memory, &command_status,
                                          &command_bench_tasks, &command_bench_study};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

int command_failed(void)
{
    fprintf(stderr, "dm: %s\n", dm_last_error());
    return DM_EXIT_FAILED;
}

int command_usage(const command *c, const char *format, ...)
{
    fprintf(stderr, "dm %s: ", c->name);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (dm %s --help)\n", c->name);
    return DM_EXIT_USAGE;
}

int command_help(const command *c)
{
    fputs(c->help, stdout);
    return DM_EXIT_OK;
}

bool command_number(const char *text, long least, long most, long *out)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (end == text || *end || errno || value < least || value > most)
        return false;
    *out = value;
    return true;
}

bool command_fraction(const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value > 0 && value < 1))
        return false;
    *out = value;
    return true;
}

bool command_amount(const char *text, double *out)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= 0 && value <= DBL_MAX))
        return false;
    *out = value;
    return true;
}

bool command_shape(const char *text, size_t shape[3])
{
    for (int axis = 0; axis < 3; axis++) {
        char number[16];
        const size_t length = strcspn(text, ",");
        long n;
        if (length >= sizeof number || (text[length] == ',') != (axis < 2))
            return false;
        memcpy(number, text, length);
        number[length] = 0;
        if (!command_number(number, 1, INT16_MAX, &n))
            return false;
        shape[axis] = (size_t)n;
        text += length + 1;
    }
    return true;
}

static const char *const engine_names[] = {
    [DM_ENGINE_DEFAULT] = "default",
    [DM_ENGINE_PROCESSES] = "processes",
    [DM_ENGINE_THREADS] = "threads",
    [DM_ENGINE_SERIAL] = "serial",
};

bool command_engine(const char *text, dm_engine *out)
{
    for (int e = DM_ENGINE_PROCESSES; e <= DM_ENGINE_SERIAL; e++) {
        if (strcmp(text, engine_names[e]) == 0) {
            *out = (dm_engine)e;
            return true;
        }
    }
    return false;
}

const char *command_engine_name(dm_engine engine)
{
    return engine_names[engine];
}

double command_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- dm itself ---- */

static int help(void)
{
    printf("dm - fits diffusion MRI on all cores, with the dmrt runtime, and looks at programs that\n"
           "     run with it\n\n"
           "Usage: dm COMMAND [OPTION...]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        printf("  %-11s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-11s %s\n  %-11s %s\n", "version", "the version of dm and its runtime", "help",
           "this text; dm help COMMAND, dm COMMAND --help: a command's options");
    printf("\nEnds with 0 when it did what was asked, 1 when that failed (a message on stderr\n"
           "says why), 2 when it did not understand its arguments, 3 when there is no running\n"
           "program to look at.\n");
    return DM_EXIT_OK;
}

/* The command that the words at argv begin with; `words` says how many they are. */
static const command *command_at(int argc, char **argv, int *words)
{
    for (int i = 0; i < COMMANDS; i++) {
        char name[64] = "";
        for (int n = 0; n < argc && n < 2; n++) {
            size_t used = strlen(name);
            snprintf(name + used, sizeof name - used, "%s%s", n ? " " : "", argv[n]);
            *words = n + 1;
            if (strcmp(name, commands[i]->name) == 0)
                return commands[i];
        }
    }
    return NULL;
}

static int unknown(int argc, char **argv)
{
    if (argc > 0 && strcmp(argv[0], "fit") == 0)
        fprintf(stderr, "dm: fit which model? This dm has csd and fwdti (dm fit csd --help)\n");
    else if (argc > 0 && strcmp(argv[0], "bench") == 0)
        fprintf(stderr, "dm: bench what? This dm has tasks and study (dm bench tasks --help)\n");
    else if (argc > 0)
        fprintf(stderr, "dm: no command is called '%s' (dm help lists them)\n", argv[0]);
    else
        fprintf(stderr, "dm: which command? (dm help lists them)\n");
    return DM_EXIT_USAGE;
}

static bool is_one_of(const char *text, const char *word, const char *option)
{
    return strcmp(text, word) == 0 || strcmp(text, option) == 0;
}

int main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow (ulimit -f) is an error with a message, as on a full disk */
    argc--, argv++;
    bool asks_help = argc > 0 && is_one_of(argv[0], "help", "--help");
    if (argc == 1 && is_one_of(argv[0], "version", "--version")) {
        printf("dm %s (dmrt %s)\n", DM_VERSION_STRING, dm_version());
        return DM_EXIT_OK;
    }
    if (asks_help && argc == 1)
        return help();
    if (asks_help)
        argc--, argv++;
    int words;
    const command *c = command_at(argc, argv, &words);
    if (!c)
        return unknown(argc, argv);
    return asks_help ? command_help(c) : c->run(argc - words + 1, argv + words - 1);
}
