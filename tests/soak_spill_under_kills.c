/*
 * Workers are killed while a working set of many times the store is spilled and brought back, and of its writes one in a
 * hundred finds no room, one fails and one is short: no byte is wrong, no value is lost, and in the end nothing is on the
 * disk and nothing is left. It says how much is left of the pace without faults, measured in turns with it, and how long a
 * kill delays a result. In full that is S3: a kill every 100 ms by the clock, then smaller objects and random kills.
 * `--short` for every run of the suite; `--seed N` repeats a run's choices.
 */
#include "tests/support/killer.h"
#include "tests/support/marked.h"
#include "tests/support/moody.h"
#include "tests/support/recovery.h"

enum { MOST = 4096, INSIDE = 6 };

typedef struct setting {
    const char *name;
    size_t store_bytes, object_bytes;
    int values; /* alive at once */
    int workers, kills, most_ms, every_ms; /* one of the two: killer.h */
    int turn; /* so many rounds with faults, then a quarter of that without */
} setting;

/* A check whose begin and end are noted: its number, whose, the object. */
DM_REMOTE(soak_check)
{
    uint64_t number, whose;
    dm_view view;
    DM_TRY(dm_arg(call, 0, &number));
    note_begin(number);
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_arg(call, 2, &view));
    bool good = is_marked(view.data, view.bytes, whose);
    note_end(number);
    return good ? dm_return(call, 1) : dm_fail(call, "wrong bytes");
}

/* Objects of its own, tasks of its own, what it was given: number, whose, bytes, the other's whose, the other. */
DM_REMOTE(soak_juggle)
{
    uint64_t number, whose, other;
    size_t bytes;
    dm_ref given, refs[INSIDE];
    dm_view view;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &whose));
    DM_TRY(dm_arg(call, 2, &bytes));
    DM_TRY(dm_arg(call, 3, &other));
    DM_TRY(dm_arg(call, 4, &given));
    note_begin(number);
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
    note_end(number);
    return good ? dm_return(call, 1) : dm_fail(call, "what was given has wrong bytes");
}

/* ---- values ---- */

static dm_ref refs[MOST];
static uint64_t names[MOST];
static uint64_t next_name = 1, next_task = 1;

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
        tasks[i] = i % 4 ? dm_remote(soak_check, next_task, names[which], refs[which])
                         : dm_remote(soak_juggle, next_task, next_name, of->object_bytes, names[which], refs[which]);
        next_task++;
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

static int turn(const setting *of, int rounds, unsigned *seed, pace *p)
{
    int64_t begin = watch_now_us();
    int wrong = 0;
    for (int i = 0; i < rounds && wrong == 0; i++)
        wrong += round_of_work(of, seed);
    p->us += watch_now_us() - begin;
    p->tasks += (uint64_t)rounds;
    return wrong;
}

static void tell(const setting *of, const killer *k, const pace *with, const pace *without)
{
    int kills = atomic_load(&k->kills);
    printf("%s: %d kills in %.0f s, one in %.1f ms; %llu rounds below them, %.2f a second, %.2f without faults: %.0f %%\n",
           of->name, kills, (double)with->us / 1e6, (double)with->us / 1e3 / kills, (unsigned long long)with->tasks,
           per_second(with), per_second(without), 100 * per_second(with) / per_second(without));
    printf("%s: of %u writes %u found no room, %u failed, %u were short\n", of->name, atomic_load(&writes),
           atomic_load(&without_room), atomic_load(&failing), atomic_load(&short_ones));
}

static void set_faults(killer *k, bool on)
{
    atomic_store(&moody, on);
    atomic_store(&k->paused, !on);
}

static int work(const setting *of, unsigned *seed, recovery *r)
{
    killer k = {.seed = *seed, .most_ms = of->most_ms, .every_ms = of->every_ms, .killed = note_death, .context = r};
    pace with = {0}, without = {0};
    int wrong = 0;
    for (int i = 0; i < of->values; i++) {
        refs[i] = DM_NO_REF;
        wrong += !renew(of, i, seed);
    }
    killer_begin(&k);
    do {
        set_faults(&k, true);
        wrong += turn(of, of->turn, seed, &with);
        set_faults(&k, false);
        wrong += round_of_work(of, seed); /* what died is replaced meanwhile */
        wrong += turn(of, of->turn / 4, seed, &without);
    } while (atomic_load(&k.kills) < of->kills && wrong == 0);
    killer_end(&k);
    for (int i = 0; i < of->values && wrong == 0; i++)
        wrong += !is_right(of, i);
    for (int i = 0; i < of->values; i++)
        wrong += dm_release(refs[i]) != DM_OK;
    tell(of, &k, &with, &without);
    return wrong + recovery_tell(r, of->name);
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
    recovery r = recovery_begin(of->kills + 100000);
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = of->workers,
                                     .store_bytes = of->store_bytes,
                                     .store_wait_ms = 20000,
                                     .retries = 1000,
                                     .log = driver_no_log});
    int wrong = work(of, &seed, &r);
    wrong += what_is_left();
    dm_shutdown();
    if (!residue_check(&before, said, sizeof said))
        wrong += printf("residue:\n%s", said);
    recovery_end(&r);
    fflush(stdout);
    return wrong;
}

int main(int argc, char **argv)
{
    static const setting brief[] = {{"S3", 12 << 20, 256 << 10, 200, 2, 40, 0, 100, 8},
                                    {"small objects", 4 << 20, 8 << 10, 1500, 1, 20, 100, 0, 20}};
    static const setting full[] = {{"S3", 64 << 20, MARKED_MIB, 1024, 2, 6000, 0, 100, 200},
                                   {"small objects", 16 << 20, 16 << 10, 4000, 2, 1000, 100, 0, 200}};
    int status, wrong = 0;
    bool is_short = false;
    unsigned seed = (unsigned)watch_now_us();
    test_worker_setup = open_notes;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    moody_set_up();
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
