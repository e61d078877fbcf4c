/*
 * beyond.c - what more cores would give: measures this machine, checks the model on it, and asks the model.
 *
 *   beyond --calibrate OUT.json --scheme FOLDER [--voxels N] [--rounds N]
 *   beyond --validate OUT.csv --calibration FILE --scheme FOLDER [--voxels N] [--runs N]
 *   beyond --predict OUT.csv --calibration FILE [--brain N] [--cpus LIST] [--draws N] [--seed N]
 *   beyond --sensitivity OUT.csv --calibration FILE [--brain N] [--at CPUS]
 *   beyond --implied OUT.csv --published FILE [--seed N]
 *
 * Each prints tables, in the form of docs/beyond-two-cores.md. FOLDER has dwi.bval, dwi.bvec and response.txt.
 */
#include <string.h>

#include "bench/support/session.h"
#include "bench/what_would_more_cores_give/implied/implied.h"
#include "bench/what_would_more_cores_give/measure/calibrate.h"
#include "bench/what_would_more_cores_give/measure/sweep.h"
#include "bench/what_would_more_cores_give/model/ask.h"

typedef struct request {
    const char *act, *out, *scheme, *calibration, *published;
    const char *cpus; /* "8,16" */
    long voxels, brain, rounds, runs, draws, at, seed;
} request;

static const char usage[] =
    "usage: beyond --calibrate OUT.json --scheme FOLDER [--voxels N] [--rounds N]\n"
    "       beyond --validate OUT.csv --calibration FILE --scheme FOLDER [--voxels N] [--runs N]\n"
    "       beyond --predict OUT.csv --calibration FILE [--brain N] [--cpus LIST] [--draws N] [--seed N]\n"
    "       beyond --sensitivity OUT.csv --calibration FILE [--brain N] [--at CPUS]\n"
    "       beyond --implied OUT.csv --published FILE [--seed N]\n";

static void refuse(const char *why, const char *what)
{
    fprintf(stderr, "beyond: %s: %s\n%s", why, what, usage);
    exit(2);
}

static bool take_text(request *r, const char *name, const char *value)
{
    static const char *const acts[] = {"--calibrate", "--validate", "--predict", "--sensitivity", "--implied"};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        if (strcmp(name, acts[i]) != 0)
            continue;
        r->act = acts[i];
        r->out = value;
        return true;
    }
    const char **places[] = {&r->scheme, &r->calibration, &r->published, &r->cpus};
    static const char *const names[] = {"--scheme", "--calibration", "--published", "--cpus"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0)
            continue;
        *places[i] = value;
        return true;
    }
    return false;
}

static bool take_number(request *r, const char *name, const char *value)
{
    long *places[] = {&r->voxels, &r->brain, &r->rounds, &r->runs, &r->draws, &r->at, &r->seed};
    static const char *const names[] = {"--voxels", "--brain", "--rounds", "--runs", "--draws", "--at", "--seed"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char *end;
        if (strcmp(name, names[i]) != 0)
            continue;
        *places[i] = strtol(value, &end, 10);
        if (*end || *places[i] < 1)
            refuse(name, "expected a number of at least 1");
        return true;
    }
    return false;
}

static request read_request(int argc, char **argv)
{
    /* The brain: 27 % of 145 x 174 x 145. */
    request r = {.cpus = "8,16,32,48,72,192", .voxels = 8192, .brain = 987755, .rounds = 5, .runs = 3,
                 .draws = 16, .at = 72, .seed = 1};
    for (int i = 1; i < argc; i += 2)
        if (i + 1 >= argc || !(take_text(&r, argv[i], argv[i + 1]) || take_number(&r, argv[i], argv[i + 1])))
            refuse(argv[i], "not understood");
    if (!r.act)
        refuse("what is to be done", "not said");
    return r;
}

static const char *needed(const char *value, const char *name)
{
    if (!value)
        refuse(name, "is missing");
    return value;
}

static calibration read_calibration(const request *r)
{
    calibration c;
    const char *why = calibration_read(needed(r->calibration, "--calibration"), &c);
    if (!why)
        return c;
    fprintf(stderr, "beyond: %s\n", why);
    exit(1);
}

/* ---- what is measured ---- */

/* A worker goes no further. */
static subject begin(const request *r)
{
    BENCH_TRY(dm_init(&(dm_options){.engine = DM_ENGINE_SERIAL}));
    dm_shutdown();
    return subject_create(needed(r->scheme, "--scheme"), (size_t)r->voxels);
}

static void do_calibrate(const request *r)
{
    subject s = begin(r);
    calibration c = calibrate(&s, (int)r->rounds);
    const char *why = calibration_write(r->out, &c);
    if (why) {
        fprintf(stderr, "beyond: %s\n", why);
        exit(1);
    }
    print_constants(&c);
    calibration_fini(&c);
    subject_destroy(&s);
}

static void do_validate(const request *r)
{
    subject s = begin(r);
    calibration c = read_calibration(r);
    sweep(&s, &c, (int)r->runs, r->out);
    calibration_fini(&c);
    subject_destroy(&s);
}

/* ---- what is asked ---- */

static question question_of(const request *r, const calibration *c)
{
    question q = {.calibration = c, .voxels = (size_t)r->brain, .draws = (uint64_t)r->draws, .seed = (uint64_t)r->seed,
                  .at = (int)r->at};
    const char *at = r->cpus;
    while (*at && q.cpu_counts < MOST_CPU_COUNTS) {
        char *end;
        long cpus = strtol(at, &end, 10);
        if (end == at || cpus < 1 || cpus > 4096 || (*end && *end != ','))
            refuse("--cpus", "expected numbers from 1 to 4096 with commas between");
        q.cpus[q.cpu_counts++] = (int)cpus;
        at = *end ? end + 1 : end;
    }
    return q;
}

static void do_ask(const request *r)
{
    calibration c = read_calibration(r);
    question q = question_of(r, &c);
    (strcmp(r->act, "--predict") == 0 ? predict : weigh)(&q, r->out);
    calibration_fini(&c);
}

int main(int argc, char **argv)
{
    request r = read_request(argc, argv);
    if (strcmp(r.act, "--calibrate") == 0)
        do_calibrate(&r);
    else if (strcmp(r.act, "--validate") == 0)
        do_validate(&r);
    else if (strcmp(r.act, "--implied") == 0)
        print_implied(needed(r.published, "--published"), r.out, (uint64_t)r.seed);
    else
        do_ask(&r);
}
