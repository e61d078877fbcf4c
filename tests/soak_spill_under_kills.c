/*
 * Workers are killed at random moments while a working set of many times the store is spilled and brought
 * back: no byte is wrong, no value is lost, and in the end nothing is on the disk and nothing is left.
 * `--short` for every run of the suite; `--seed N` repeats a run's choices.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "tests/support/marked.h"

enum { MOST = 4096, INSIDE = 6 };

typedef struct setting {
    size_t store_bytes, object_bytes;
    int values; /* alive at once */
    int workers, kills, most_ms;
} setting;

/* Objects of its own, tasks of its own, what it was given: whose, bytes, the other's whose, the other. */
DM_REMOTE(soak_juggle)
{
    uint64_t whose, other;
    size_t bytes;
    dm_ref given, refs[INSIDE];
    dm_view view;
    DM_TRY(dm_arg(call, 0, &whose));
    DM_TRY(dm_arg(call, 1, &bytes));
    DM_TRY(dm_arg(call, 2, &other));
    DM_TRY(dm_arg(call, 3, &given));
    DM_TRY(dm_retain(given));
    for (uint64_t i = 0; i < INSIDE; i++)
        refs[i] = i % 2 ? dm_remote(marked_make, bytes, whose + i) : marked_put(bytes, whose + i);
    for (uint64_t i = 0; i < 2 * INSIDE; i++) {
        uint64_t which = i * 5 % INSIDE;
        DM_TRY(dm_get(refs[which], &view));
        if (!is_marked(view.data, view.bytes, whose + which))
            return dm_fail(call, "wrong bytes");
        dm_view_release(&view);
    }
    DM_TRY(dm_get(given, &view));
    bool good = is_marked(view.data, view.bytes, other);
    dm_view_release(&view);
    DM_TRY(dm_release(given));
    return good ? dm_return(call, 1) : dm_fail(call, "what was given has wrong bytes");
}

/* ---- deaths ---- */

typedef struct killer {
    atomic_bool stop;
    atomic_int kills;
    unsigned seed;
    int most_ms;
    uint64_t done; /* tasks, at the last death */
} killer;

/* A start must have a chance, however slow the machine: some tasks are done between two deaths. */
static void wait_for_tasks(killer *k)
{
    enum { TASKS = 20 };
    dm_stats stats = {0};
    while (!atomic_load(&k->stop) && dm_stats_get(&stats) == DM_OK && stats.tasks_done < k->done + TASKS)
        watch_pause();
    k->done = stats.tasks_done;
}

static void *kill_now_and_then(void *argument)
{
    killer *k = argument;
    while (!atomic_load(&k->stop)) {
        long ms = 1 + (long)((unsigned)rand_r(&k->seed) % (unsigned)k->most_ms);
        nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
        wait_for_tasks(k);
        if (!atomic_load(&k->stop) && watch_kill_a_worker(&k->seed))
            atomic_fetch_add(&k->kills, 1);
    }
    return NULL;
}

/* ---- values ---- */

static dm_ref refs[MOST];
static uint64_t names[MOST];
static uint64_t next_name = 1;

static bool is_right(const setting *of, int i)
{
    if (marked_is_there(refs[i], of->object_bytes, names[i]))
        return true;
    fprintf(stderr, "value %llu: %s\n", (unsigned long long)names[i], dm_last_error());
    return false;
}

/* A value takes the place of another: put, or a task's. */
static bool renew(const setting *of, int i, unsigned *seed)
{
    bool released = refs[i].id == 0 || dm_release(refs[i]) == DM_OK;
    names[i] = next_name++;
    refs[i] = rand_r(seed) % 3 == 0 ? marked_put(of->object_bytes, names[i])
                                    : dm_remote(marked_make, of->object_bytes, names[i]);
    if (refs[i].id == 0)
        fprintf(stderr, "put %llu: %s\n", (unsigned long long)names[i], dm_last_error());
    return released && refs[i].id != 0;
}

static bool is_one(dm_ref ref)
{
    int one = 0;
    dm_status status = dm_get_within(ref, &one, 60000);
    if (status != DM_OK || one != 1)
        fprintf(stderr, "a task: %s: %s\n", dm_status_name(status), dm_last_error());
    dm_release(ref);
    return status == DM_OK && one == 1;
}

/* Some of each: reads here, reads as arguments, reads by refs, new values. Number of wrong ones. */
static int round_of_work(const setting *of, unsigned *seed)
{
    enum { TASKS = 8, READS = 8 };
    dm_ref tasks[TASKS];
    int wrong = 0;
    for (int i = 0; i < TASKS; i++) {
        int which = rand_r(seed) % of->values;
        tasks[i] = i % 4 ? dm_remote(marked_check, names[which], refs[which])
                         : dm_remote(soak_juggle, next_name, of->object_bytes, names[which], refs[which]);
        next_name += INSIDE;
    }
    for (int i = 0; i < READS; i++)
        wrong += !is_right(of, rand_r(seed) % of->values);
    for (int i = 0; i < READS; i++)
        wrong += !renew(of, rand_r(seed) % of->values, seed);
    for (int i = 0; i < TASKS; i++)
        wrong += !is_one(tasks[i]);
    return wrong;
}

static int work(const setting *of, unsigned *seed, killer *k)
{
    int wrong = 0, rounds = 0;
    for (int i = 0; i < of->values; i++) {
        refs[i] = DM_NO_REF;
        wrong += !renew(of, i, seed);
    }
    for (; (rounds < 5 || atomic_load(&k->kills) < of->kills) && wrong == 0; rounds++)
        wrong += round_of_work(of, seed);
    for (int i = 0; i < of->values && wrong == 0; i++)
        wrong += !is_right(of, i);
    for (int i = 0; i < of->values; i++)
        wrong += dm_release(refs[i]) != DM_OK;
    printf("%d kills, %d rounds; %d wrong\n", atomic_load(&k->kills), rounds, wrong);
    fflush(stdout);
    return wrong;
}

/* ---- a soak ---- */

static int what_is_left(void)
{
    dm_stats stats = {.refs = 1};
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while ((stats.refs != 0 || stats.disk_bytes != 0) && watch_now_ms() < until) {
        watch_pause();
        if (dm_stats_get(&stats) != DM_OK)
            return 1;
    }
    printf("spilled %llu MiB, read back %llu MiB; %llu attempts were repeated\n",
           (unsigned long long)stats.spilled_total >> 20, (unsigned long long)stats.restored_total >> 20,
           (unsigned long long)stats.tasks_retried);
    if (stats.refs == 0 && stats.objects == 0 && stats.store_used == 0 && stats.disk_bytes == 0 &&
        stats.objects_lost == 0 && stats.tasks_failed == 0 && stats.spilled_total != 0)
        return 0;
    return printf("left: %llu refs, %llu objects, %zu bytes in memory, %llu on disk; lost %llu; failed %llu\n",
                  (unsigned long long)stats.refs, (unsigned long long)stats.objects, stats.store_used,
                  (unsigned long long)stats.disk_bytes, (unsigned long long)stats.objects_lost,
                  (unsigned long long)stats.tasks_failed);
}

static int soak(const setting *of, unsigned seed)
{
    residue before;
    char said[4096];
    pthread_t thread;
    killer k = {.seed = seed, .most_ms = of->most_ms};
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = of->workers,
                                     .store_bytes = of->store_bytes,
                                     .store_wait_ms = 20000,
                                     .retries = 1000,
                                     .log = driver_no_log});
    pthread_create(&thread, NULL, kill_now_and_then, &k);
    int wrong = work(of, &seed, &k);
    atomic_store(&k.stop, true);
    pthread_join(thread, NULL);
    wrong += what_is_left();
    dm_shutdown();
    if (!residue_check(&before, said, sizeof said))
        wrong += printf("residue:\n%s", said);
    return wrong;
}

int main(int argc, char **argv)
{
    static const setting brief[] = {{12 << 20, 256 << 10, 200, 2, 40, 100}, {4 << 20, 8 << 10, 1500, 1, 20, 100}};
    static const setting full[] = {{64 << 20, MARKED_MIB, 1024, 2, 6000, 200},
                                   {16 << 20, 16 << 10, 4000, 2, 1000, 100}};
    int status, wrong = 0;
    bool is_short = false;
    unsigned seed = (unsigned)watch_now_us();
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            is_short = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = (unsigned)strtoul(argv[++i], NULL, 10);
    }
    printf("seed %u\n", seed);
    fflush(stdout);
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    for (int i = 0; i < 2 && wrong == 0; i++)
        wrong = soak(is_short ? &brief[i] : &full[i], seed + (unsigned)i);
    test_end();
    return wrong != 0;
}
