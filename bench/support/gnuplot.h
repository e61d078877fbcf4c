/*
 * gnuplot.h - pictures by gnuplot, an external program that is told everything on its standard input.
 */
#ifndef BENCH_GNUPLOT_H
#define BENCH_GNUPLOT_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Is there one in PATH? */
static inline bool bench_gnuplot_possible(void)
{
    char path[4096];
    const char *directory = getenv("PATH");
    while (directory && *directory) {
        int length = (int)strcspn(directory, ":");
        snprintf(path, sizeof path, "%.*s/gnuplot", length, directory);
        if (access(path, X_OK) == 0)
            return true;
        directory += length + (directory[length] == ':');
    }
    return false;
}

/* Yours: bench_gnuplot_end. NULL: errno says why it cannot be started. */
static inline FILE *bench_gnuplot_begin(void)
{
    signal(SIGPIPE, SIG_IGN); /* it may end before it has read everything: then its status tells */
    return popen("gnuplot - >/dev/null", "w"); /* "-": the first error ends it */
}

/* Did it do all that it was told? */
static inline bool bench_gnuplot_end(FILE *to)
{
    return pclose(to) == 0;
}

/* As gnuplot reads it: 'it''s.png'. */
static inline void bench_gnuplot_quote(FILE *to, const char *text)
{
    putc('\'', to);
    for (; *text; text++) {
        if (*text == '\'')
            putc('\'', to);
        putc(*text, to);
    }
    putc('\'', to);
}

#endif
