/*
 * observers.h - what dm status and dm memory share: options, the choice of a program, the way to JSON,
 * and how amounts are written.
 */
#ifndef DM_OBSERVERS_H
#define DM_OBSERVERS_H

#include "runtime/dm/command.h"
#include "runtime/dm/observation.h"

/* "12.3 MiB", into `to`, which has room for AMOUNT_BYTES and is returned. */
enum { AMOUNT_BYTES = 24 };
const char *observers_amount(char *to, uint64_t bytes);

/* The first lines of both: program and engine; store; disk. */
void observers_print_head(const observation *o);
void observers_print_store(const dmi_totals_line *t);

/* Read the options, find the program, ask it, print the answer by `print` or as JSON. Gives the exit
 * status. */
int observers_run(const command *c, dmi_question question, int argc, char **argv,
                  void (*print)(const observation *o));

#endif
