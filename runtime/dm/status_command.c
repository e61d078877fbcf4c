/*
 * status_command.c - dm status: what a running program's session is doing, and each of its workers.
 */
#include <inttypes.h>
#include <stdio.h>

#include "runtime/dm/observers.h"

static const char help_text[] =
    "dm status - what a running program does with its workers\n"
    "\n"
    "Usage: dm status [PID] [--json]\n"
    "\n"
    "  PID     of the program that called dm_init, not of a worker; without it, the only such\n"
    "          program of this user that is running\n"
    "  --json  figures instead of text, on stdout\n"
    "  --help  this text\n"
    "\n"
    "Only the user who runs a program, and root, may look at it.\n"
    "\n"
    "Ends with 0 when the program answered; 1 when it did not, or may not be asked; 2 when the\n"
    "arguments made no sense, or several programs are running and none was named (stderr lists\n"
    "them); 3 when there is no such program, or it ended meanwhile.\n";

static void print_tasks(const dmi_totals_line *t)
{
    printf("tasks   %" PRIu64 " submitted; %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " run again\n",
           t->tasks_submitted, t->tasks_done, t->tasks_failed, t->tasks_retried);
    printf("        %" PRIu64 " with workers, %" PRIu64 " queued, %" PRIu64 " waiting for inputs\n", t->tasks_placed,
           t->tasks_queued, t->tasks_waiting);
    printf("values  %" PRIu64 " alive, %" PRIu64 " of them objects; %" PRIu64 " workers lost so far\n", t->refs,
           t->objects, t->workers_lost);
}

static void print_worker(const dmi_worker_line *w)
{
    char pid[24] = "-";
    if (w->pid)
        snprintf(pid, sizeof pid, "%" PRIu64, w->pid);
    printf("%6" PRIu64 "  %9s  %-8s  %6" PRIu64 "  %s\n", w->worker, pid, w->state, w->tasks, w->function);
}

static void print(const observation *o)
{
    observers_print_head(o);
    print_tasks(&o->totals);
    observers_print_store(&o->totals);
    printf("\nworker        pid  state      tasks  function\n");
    for (size_t i = 0; i < o->worker_count; i++)
        print_worker(&o->workers[i]);
}

static int run(int argc, char **argv)
{
    return observers_run(&command_status, DMI_ASK_STATUS, argc, argv, print);
}

const command command_status = {
    .name = "status",
    .summary = "what a running program and its workers do",
    .help = help_text,
    .run = run,
};
