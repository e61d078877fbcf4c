/*
 * figures.h - what --json writes: one object of names and values, objects in it where they belong
 * together.
 */
#ifndef DM_FIGURES_H
#define DM_FIGURES_H

#include <stdbool.h>

#include "dm/status.h"

typedef struct figures figures;

/* Yours: figures_destroy. Memory that cannot be had is reported by figures_write, not before. */
figures *figures_create(void);
void figures_destroy(figures *f);

void figures_number(figures *f, const char *name, double value); /* not a number: null */
void figures_text(figures *f, const char *name, const char *value);
void figures_flag(figures *f, const char *name, bool value);

/* An object inside `f`. Mine. */
figures *figures_within(figures *f, const char *name);

/* A list inside `f`, and one more object in a list. Mine. */
figures *figures_list(figures *f, const char *name);
figures *figures_item(figures *list);

/* To a file, or to stdout if the path is "-". Returns DM_ERR_IO, DM_ERR_NOMEM. */
dm_status figures_write(const figures *f, const char *path) DM_NODISCARD;

#endif
