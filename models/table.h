/*
 * table.h - text files of numbers: rows of values between blanks; lines from # on are comments.
 */
#ifndef DM_MODELS_TABLE_H
#define DM_MODELS_TABLE_H

#include "dm/status.h"

#include <stddef.h>

typedef struct dmi_table {
    double *values; /* row by row */
    size_t n_values;
    size_t n_rows;    /* rows that hold a value */
    size_t n_columns; /* 0 if the rows differ in length */
} dmi_table;

/* Reads with a point for the decimals in any locale. DM_ERR_IO, DM_ERR_FORMAT, DM_ERR_NOMEM; a file
 * without a number is DM_ERR_FORMAT. After success: dmi_table_fini. */
dm_status dmi_table_read(const char *path, dmi_table *table) DM_NODISCARD;

void dmi_table_fini(dmi_table *table);

#endif
