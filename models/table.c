/*
 * table.c - reads text files of numbers (b-values, vectors, responses).
 *
 * Knows nothing of what the numbers mean.
 */
#define _GNU_SOURCE /* strtod_l, newlocale */
#include "models/table.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A table of gradients has some thousand numbers; what is larger is another kind of file. */
enum { MOST_VALUES = 1 << 22 };

typedef struct reader {
    const char *path;
    dmi_table table;
    size_t capacity;
    size_t line; /* counted from 1 */
    locale_t c_locale;
} reader;

void dmi_table_fini(dmi_table *table)
{
    free(table->values);
    *table = (dmi_table){0};
}

static dm_status append(reader *in, double value)
{
    dmi_table *table = &in->table;
    if (table->n_values == MOST_VALUES)
        return dmi_error(DM_ERR_FORMAT,
                         "%s: more than %d numbers; expected a text table of gradients or "
                         "a response",
                         in->path, MOST_VALUES);
    if (table->n_values == in->capacity) {
        const size_t more = in->capacity ? 2 * in->capacity : 1024;
        double *grown = realloc(table->values, more * sizeof *grown);
        if (!grown)
            return dmi_error(DM_ERR_NOMEM, "%s: no memory for %zu numbers", in->path, more);
        table->values = grown;
        in->capacity = more;
    }
    table->values[table->n_values++] = value;
    return DM_OK;
}

static const char *past_blanks(const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    return text;
}

static dm_status take_line(reader *in, const char *text)
{
    const size_t before = in->table.n_values;
    for (text = past_blanks(text); *text && *text != '#'; text = past_blanks(text)) {
        char *end;
        const double value = strtod_l(text, &end, in->c_locale);
        if (end == text || (*end && !isspace((unsigned char)*end)))
            return dmi_error(DM_ERR_FORMAT,
                             "%s, line %zu: found '%.*s' where a number was expected; numbers are "
                             "separated by blanks",
                             in->path, in->line, (int)strcspn(text, " \t\r\n"), text);
        dm_status status = append(in, value);
        if (status != DM_OK)
            return status;
        text = end;
    }
    const size_t found = in->table.n_values - before;
    if (found == 0)
        return DM_OK;
    in->table.n_columns = in->table.n_rows == 0 || in->table.n_columns == found ? found : 0;
    in->table.n_rows++;
    return DM_OK;
}

/* getline, but it ends at a zero byte and at a length that no table has: the file may be a device. */
static ssize_t next_line(char **line, size_t *room, FILE *file)
{
    enum { MOST = 16 << 20 };
    size_t length = 0;
    int c = 0;
    while ((c = getc(file)) != EOF) {
        if (length + 2 > *room) {
            size_t more = *room ? 2 * *room : 256;
            char *grown = realloc(*line, more);
            if (grown == NULL)
                return -1;
            *line = grown;
            *room = more;
        }
        if (length == MOST)
            c = 0;
        (*line)[length++] = (char)c;
        if (c == '\n' || c == 0)
            break;
    }
    if (length == 0)
        return -1;
    (*line)[length] = 0;
    return (ssize_t)length;
}

static dm_status take_lines(reader *in, FILE *file)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    dm_status status = DM_OK;
    while (status == DM_OK && (length = next_line(&line, &room, file)) >= 0) {
        in->line++;
        if (strlen(line) != (size_t)length)
            status = dmi_error(DM_ERR_FORMAT,
                               "%s, line %zu: found a zero byte; expected a text file of "
                               "numbers",
                               in->path, in->line);
        else
            status = take_line(in, line);
    }
    const int cause = errno;
    free(line);
    if (status == DM_OK && !feof(file))
        status = dmi_error(DM_ERR_IO, "%s: reading failed: %s", in->path, strerror(cause));
    if (status == DM_OK && in->table.n_values == 0)
        status = dmi_error(DM_ERR_FORMAT, "%s: found no number; expected a text table", in->path);
    return status;
}

dm_status dmi_table_read(const char *path, dmi_table *table)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return dmi_error(DM_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    reader in = {.path = path, .c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    dm_status status = in.c_locale ? take_lines(&in, file)
                                   : dmi_error(DM_ERR_NOMEM, "%s: no memory to read it", path);
    if (in.c_locale)
        freelocale(in.c_locale);
    fclose(file);
    if (status == DM_OK)
        *table = in.table;
    else
        dmi_table_fini(&in.table);
    return status;
}
