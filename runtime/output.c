/*
 * output.c - splits a stream of bytes into lines. Memory is one line, however much comes.
 *
 * Prints nothing itself: lines go to whoever is named. Runs on the supervisor's thread.
 */
#include "runtime/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void hand_on(dmi_output *output, dmi_line_taker take, void *context)
{
    output->line[output->length] = '\0';
    output->length = 0;
    take(context, output->line);
}

/* A line is passed on as a C string, so a NUL in it would hide what follows. */
static void append(dmi_output *output, const char *bytes, size_t length)
{
    char *to = output->line + output->length;
    memcpy(to, bytes, length);
    output->length += length;
    for (char *nul = memchr(to, '\0', length); nul;
         nul = memchr(nul, '\0', length - (size_t)(nul - to)))
        *nul = '?';
}

void dmi_output_split(dmi_output *output, const char *bytes, size_t length, dmi_line_taker take,
                      void *context)
{
    while (length > 0) {
        const char *newline = memchr(bytes, '\n', length);
        size_t piece = newline ? (size_t)(newline - bytes) : length;
        if (newline && piece == 0) {
            if (!output->continued || output->length > 0)
                hand_on(output, take, context);
            output->continued = false;
            bytes++, length--;
            continue;
        }
        if (piece > DMI_LINE_BYTES - output->length)
            piece = DMI_LINE_BYTES - output->length;
        append(output, bytes, piece);
        bytes += piece, length -= piece;
        if (output->length == DMI_LINE_BYTES) {
            hand_on(output, take, context);
            output->continued = true;
        }
    }
}

dmi_output_state dmi_output_read(dmi_output *output, int fd, size_t at_most, dmi_line_taker take,
                                 void *context)
{
    char bytes[16384];
    for (size_t total = 0; total < at_most;) {
        ssize_t got = read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return DMI_OUTPUT_DRY;
        if (got <= 0)
            return DMI_OUTPUT_ENDED;
        dmi_output_split(output, bytes, (size_t)got, take, context);
        total += (size_t)got;
    }
    return DMI_OUTPUT_MORE;
}

void dmi_output_flush(dmi_output *output, dmi_line_taker take, void *context)
{
    if (output->length > 0)
        hand_on(output, take, context);
    output->continued = false;
}

void dmi_output_prefix(char *to, unsigned worker, const char *function, const char *line)
{
    snprintf(to, DMI_PREFIXED_BYTES, "[worker %u%s%.255s] %s", worker, *function ? " " : "",
             function, line);
}
