/*
 * published.h - what others have published of the same sweep: bench/study/published.csv.
 */
#ifndef BENCH_PUBLISHED_H
#define BENCH_PUBLISHED_H

enum { MOST_PUBLISHED = 32, MANY_CHUNKS = 32768 };

typedef struct published {
    int model; /* of model_names */
    int cpus;
    double best; /* speed-up at its best chunking */
    double many; /* at MANY_CHUNKS */
} published;

/* Lines "model,cpus,best,efficiency,many"; those that begin with # say where they come from. Returns how many there
 * are; 0 and `*why` if it cannot be read. */
int published_read(const char *path, published *out, const char **why);

#endif
