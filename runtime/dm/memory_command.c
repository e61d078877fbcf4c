/*
 * memory_command.c - dm memory: what a running program keeps in its store and on disk, and for whom.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "runtime/dm/observers.h"

static const char help_text[] =
    "dm memory - what a running program keeps in memory and on disk, and who holds it\n"
    "\n"
    "Usage: dm memory [PID] [--top N] [--json]\n"
    "\n"
    "  PID      of the program that called dm_init, not of a worker; without it, the only such\n"
    "           program of this user that is running\n"
    "  --top N  so many objects, the largest first, 0 to 10000 (20)\n"
    "  --json   figures instead of text, on stdout\n"
    "  --help   this text\n"
    "\n"
    "The states of an object: memory; leaving (being written to disk); disk; returning (being read\n"
    "back); both (read back, and its copy kept); being made (dm_create, not sealed). Pinned is what\n"
    "the program itself has views of or is making: it cannot be spilled. Sizes are those in memory,\n"
    "header included. An object is as it was when it was looked at; all together are no snapshot.\n"
    "\n"
    "Only the user who runs a program, and root, may look at it.\n"
    "\n"
    "Ends with 0 when the program answered; 1 when it did not, or may not be asked; 2 when the\n"
    "arguments made no sense, or several programs are running and none was named (stderr lists\n"
    "them); 3 when there is no such program, or it ended meanwhile.\n";

enum { HOLDERS_BYTES = 400 };

static void append(char *to, size_t *at, const char *format, ...) DM_PRINTF(3, 4);

static void append(char *to, size_t *at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int written = vsnprintf(to + *at, HOLDERS_BYTES - *at, format, arguments);
    va_end(arguments);
    *at += (size_t)written;
    if (*at >= HOLDERS_BYTES)
        *at = HOLDERS_BYTES - 1;
}

static void append_count(char *to, size_t *at, uint64_t count, const char *what)
{
    if (count != 0)
        append(to, at, "%s%" PRIu64 " %s%s", *at ? ", " : "", count, what, count == 1 ? "" : "s");
}

static void describe_holders(const dmi_object_line *line, char *to)
{
    size_t at = 0;
    uint64_t told = 0;
    to[0] = 0;
    append_count(to, &at, line->driver_refs, "ref");
    append_count(to, &at, line->views, "view");
    append_count(to, &at, line->tasks, "task");
    append_count(to, &at, line->values, "value");
    for (int i = 0; i < DMI_TOLD_WORKERS && line->refs[i] != 0; i++) {
        append(to, &at, "%sworker %" PRIu64, at ? ", " : "", line->worker[i]);
        told += line->refs[i];
    }
    if (told < line->worker_refs)
        append(to, &at, ", more workers");
    if (at == 0)
        append(to, &at, "nobody, and going");
}

static void print_object(const dmi_object_line *line)
{
    char amount[AMOUNT_BYTES], on_disk[AMOUNT_BYTES], holders[HOLDERS_BYTES];
    describe_holders(line, holders);
    observers_amount(on_disk, line->disk_bytes);
    printf("%10s  %10s  %-10s  %9" PRIu64 "  %-20s  %s\n", observers_amount(amount, line->bytes),
           line->disk_bytes ? on_disk : "-", line->state, line->value, line->made_by, holders);
}

static void print(const observation *o)
{
    observers_print_head(o);
    observers_print_store(&o->totals);
    printf("\n%10s  %10s  %-10s  %9s  %-20s  %s\n", "size", "on disk", "state", "value", "made by", "held by");
    for (size_t i = 0; i < o->object_count; i++)
        print_object(&o->objects[i]);
    printf("%zu of %" PRIu64 " objects%s\n", o->object_count, o->objects_seen,
           o->object_count < o->objects_seen ? " (--top N shows more)" : "");
}

static int run(int argc, char **argv)
{
    return observers_run(&command_memory, DMI_ASK_MEMORY, argc, argv, print);
}

const command command_memory = {
    .name = "memory",
    .summary = "what a running program keeps in memory and on disk, and for whom",
    .help = help_text,
    .run = run,
};
