/*
 * output.h - what a worker prints, split into lines and given a prefix, a bounded piece at a time.
 */
#ifndef DMI_OUTPUT_H
#define DMI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

enum {
    DMI_LINE_BYTES = 8192,                    /* a longer line is forwarded in pieces */
    DMI_PREFIXED_BYTES = DMI_LINE_BYTES + 320 /* with its prefix and a zero */
};

/* One stream: the line that has begun and not ended. Zeroed at first; nothing to free. */
typedef struct dmi_output {
    size_t length;
    bool continued; /* the last piece was cut out of a line: its end is not an empty line */
    char line[DMI_LINE_BYTES + 1];
} dmi_output;

/* Gets a line, without its newline, as a string. */
typedef void (*dmi_line_taker)(void *context, const char *line);

typedef enum dmi_output_state {
    DMI_OUTPUT_MORE,
    DMI_OUTPUT_DRY,
    DMI_OUTPUT_ENDED
} dmi_output_state;

/* Read at most about `at_most` bytes from a nonblocking descriptor and hand on the lines in
 * them. */
dmi_output_state dmi_output_read(dmi_output *output, int fd, size_t at_most, dmi_line_taker take,
                                 void *context);

/* Split bytes that are there already. */
void dmi_output_split(dmi_output *output, const char *bytes, size_t length, dmi_line_taker take,
                      void *context);

/* The end of the stream: hand on a line that has no newline. */
void dmi_output_flush(dmi_output *output, dmi_line_taker take, void *context);

/* "[worker 1 square] text"; "[worker 1] text" if `function` is "". `to` has DMI_PREFIXED_BYTES. */
void dmi_output_prefix(char *to, unsigned worker, const char *function, const char *line);

#endif
