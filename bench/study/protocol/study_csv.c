/*
 * study_csv.c - see study_csv.h.
 */
#define _GNU_SOURCE
#include "bench/study/protocol/study_csv.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A sweep has some thousands of rows; what is larger is something else. */
enum { MOST_BYTES = 64 << 20 };

static dm_status failed(const char *path)
{
    return dmi_error(DM_ERR_IO, "%s: %s", path, strerror(errno));
}

/* ---- fields ---- */

static dm_status unexpected(const study_csv_row *row, int column, const char *expected)
{
    return dmi_error(DM_ERR_FORMAT, "%s:%ld: %s is '%.40s'; %s was expected", row->path, row->line,
                     row->names[column], row->fields[column], expected);
}

dm_status study_csv_text(const study_csv_row *row, int column, char *to, size_t room)
{
    const size_t length = strlen(row->fields[column]);
    if (length == 0 || length >= room)
        return unexpected(row, column, "a word, not too long,");
    memcpy(to, row->fields[column], length + 1);
    return DM_OK;
}

dm_status study_csv_whole(const study_csv_row *row, int column, int64_t least, int64_t most, int64_t *to)
{
    char *end;
    errno = 0;
    const long long value = strtoll(row->fields[column], &end, 10);
    if (end == row->fields[column] || *end || errno || value < least || value > most)
        return unexpected(row, column, "a whole number that can be");
    *to = value;
    return DM_OK;
}

dm_status study_csv_number(const study_csv_row *row, int column, double *to)
{
    char *end;
    const double value = strtod(row->fields[column], &end);
    if (end == row->fields[column] || *end || !isfinite(value))
        return unexpected(row, column, "a number");
    *to = value;
    return DM_OK;
}

/* ---- lines ---- */

/* The end of a field, and what is in it: its quotes are not. NULL: there is text before or behind them, or only one. */
static char *field_end(char **field)
{
    if (**field != '"') {
        char *next = *field + strcspn(*field, ",\"");
        return *next == '"' ? NULL : next;
    }
    char *end = strchr(++*field, '"');
    if (end == NULL || (end[1] != ',' && end[1] != 0))
        return NULL;
    *end = 0;
    return end + 1;
}

/* Cuts a line at its commas. Returns how many fields there are, -1 if they cannot be told apart. */
static int split(char *line, const char **fields)
{
    for (int n = 0; n < STUDY_CSV_COLUMNS; n++) {
        char *end = field_end(&line);
        if (end == NULL)
            return -1;
        const bool last = *end == 0;
        *end = 0;
        fields[n] = line;
        line = end + 1;
        if (last)
            return n + 1;
    }
    return -1;
}

static dm_status take_lines(const study_csv *kind, const char *path, char *text, void *context)
{
    char header[STUDY_CSV_LINE];
    study_csv_row row = {.path = path};
    strncpy(header, kind->header, sizeof header - 1);
    header[sizeof header - 1] = 0;
    const int columns = split(header, row.names);
    for (char *end; (end = strchr(text, '\n')) != NULL; text = end + 1) {
        *end = 0;
        if (++row.line == 1) {
            if (strcmp(text, kind->header) != 0)
                return dmi_error(DM_ERR_FORMAT, "%s:1: '%.40s' was found; the header %s was expected", path, text,
                                 kind->header);
            continue;
        }
        const int found = split(text, row.fields);
        if (found != columns)
            return dmi_error(DM_ERR_FORMAT, "%s:%ld: not the %d fields that were expected", path, row.line, columns);
        DM_TRY(kind->take(context, &row));
    }
    return DM_OK;
}

/* ---- files ---- */

/* All of it, with a zero behind; `*whole` is where the last whole line ends. */
static dm_status read_all(int fd, const char *path, char **text, size_t *bytes, size_t *whole)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return failed(path);
    if (!S_ISREG(about.st_mode) || about.st_size > MOST_BYTES)
        return dmi_error(DM_ERR_FORMAT, "%s: no file of rows, or one of more than %d bytes", path, MOST_BYTES);
    char *all = calloc(1, (size_t)about.st_size + 1);
    if (all == NULL)
        return dmi_error(DM_ERR_NOMEM, "%s: no memory for %lld bytes", path, (long long)about.st_size);
    const ssize_t n = pread(fd, all, (size_t)about.st_size, 0);
    if (n < 0) {
        free(all);
        return failed(path);
    }
    const char *last = memrchr(all, '\n', (size_t)n);
    *text = all;
    *bytes = (size_t)n;
    *whole = last ? (size_t)(last - all) + 1 : 0;
    return DM_OK;
}

/* The whole rows of an open file. `*torn`: bytes behind them. */
static dm_status take_file(const study_csv *kind, int fd, const char *path, void *context, size_t *whole, size_t *torn)
{
    char *text = NULL;
    size_t bytes = 0;
    DM_TRY(read_all(fd, path, &text, &bytes, whole));
    dm_status status = DM_OK;
    *torn = bytes - *whole;
    if (memchr(text, 0, *whole))
        status = dmi_error(DM_ERR_FORMAT, "%s: binary data was found; rows of text were expected", path);
    else if (*whole == 0 && strncmp(text, kind->header, *torn) != 0)
        status = dmi_error(DM_ERR_FORMAT, "%s:1: '%.40s' was found; the header %s was expected", path, text,
                           kind->header);
    text[*whole] = 0;
    if (status == DM_OK)
        status = take_lines(kind, path, text, context);
    free(text);
    return status;
}

dm_status study_csv_read(const study_csv *kind, const char *path, void *context)
{
    size_t whole, torn;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? DM_OK : failed(path);
    const dm_status status = take_file(kind, fd, path, context, &whole, &torn);
    close(fd);
    return status;
}

static dm_status prepare(const study_csv *kind, int fd, const char *path, void *context, bool *was_torn)
{
    size_t whole, torn;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK
                   ? dmi_error(DM_ERR_IO, "%s: another program is appending rows to it", path)
                   : failed(path);
    DM_TRY(take_file(kind, fd, path, context, &whole, &torn));
    *was_torn = torn > 0;
    if (torn > 0 && ftruncate(fd, (off_t)whole) != 0)
        return failed(path);
    return whole > 0 ? DM_OK : study_csv_append(fd, path, kind->header);
}

dm_status study_csv_open(const study_csv *kind, const char *path, void *context, int *fd, bool *torn)
{
    *fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*fd < 0)
        return failed(path);
    const dm_status status = prepare(kind, *fd, path, context, torn);
    if (status != DM_OK) {
        close(*fd);
        *fd = -1;
    }
    return status;
}

dm_status study_csv_append(int fd, const char *path, const char *row)
{
    char line[STUDY_CSV_LINE];
    const int length = snprintf(line, sizeof line, "%s\n", row);
    if (length < 0 || (size_t)length >= sizeof line)
        return dmi_error(DM_ERR_INVALID, "%s: a row of %d bytes is too long", path, length);
    errno = 0;
    const ssize_t written = write(fd, line, (size_t)length);
    if (written != length) {
        if (written >= 0 && errno == 0)
            errno = ENOSPC;
        return failed(path); /* torn, and found so by the next to open it */
    }
    return fdatasync(fd) == 0 ? DM_OK : failed(path);
}
