/*
 * Workers are killed by the clock while tasks run, and nothing is lost, wrong, seen in two shapes, or left. It also says
 * how much is left of the throughput without kills, measured in turns with it, and how long it takes from a kill to the
 * result that it delayed. S1: tasks of 0.1 to 1 ms with objects of 64 KiB, a kill every 50 ms. S2: tasks of 50 us, a kill
 * every 5 ms.
 *
 * A worker with sanitizers takes longer to start than that: there the killer waits, and the figures mean nothing.
 * `--short` for every run of the suite; `--seed N` repeats a run's choices; `--only S1` or S2.
 */
#include <stdatomic.h>
#include <time.h>

#include "tests/support/killer.h"
#include "tests/support/marked.h"
#include "tests/support/recovery.h"

enum { WINDOW = 64, BACK = WINDOW / 2, INPUT = 8, HEAD = 2 * sizeof(uint64_t) };

typedef struct setting {
    const char *name;
    int every_ms, kills;
    uint64_t tasks;
    int least_us, most_us;
    size_t bytes;
    uint64_t turn; /* so many tasks with kills, then a quarter of that without */
} setting;

/* ---- the tasks ---- */

static int64_t cpu_us(void)
{
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000000 + used.tv_nsec / 1000;
}

/* Two words of its own, then what the number says. */
static bool is_right(const dm_view *view, uint64_t number)
{
    return view->bytes > HEAD && is_marked((const char *)view->data + HEAD, view->bytes - HEAD, number);
}

/* Its number, microseconds, bytes; the number before and its object. The first word is another one for each attempt: who
 * reads two of them has seen two results. The second is the first of its input. */
DM_REMOTE(burns)
{
    uint64_t number, before, head[2] = {(uint64_t)getpid() << 32 ^ (uint64_t)watch_now_us(), 0};
    int64_t begun = cpu_us(), us;
    size_t bytes;
    dm_view input;
    dm_buffer buffer;
    DM_TRY(dm_arg(call, 0, &number));
    DM_TRY(dm_arg(call, 1, &us));
    DM_TRY(dm_arg(call, 2, &bytes));
    note_begin(number);
    if (dm_arg_count(call) > 3) {
        DM_TRY(dm_arg(call, 3, &before));
        DM_TRY(dm_arg(call, 4, &input));
        if (!is_right(&input, before))
            return dm_fail(call, "the input has wrong bytes");
        memcpy(&head[1], input.data, sizeof head[1]);
    }
    DM_TRY(dm_create(DM_U8, 1, &bytes, &buffer));
    memcpy(buffer.data, head, HEAD);
    marked_fill((char *)buffer.data + HEAD, bytes - HEAD, number);
    while (cpu_us() - begun < us)
        continue;
    note_end(number);
    return dm_return(call, &buffer);
}

/* ---- the work ---- */

static dm_ref refs[WINDOW];
static uint64_t firsts[WINDOW]; /* the first words of what was read */
static uint64_t next;

static void submit(const setting *of, unsigned *seed)
{
    uint64_t number = next++, before = number - INPUT;
    int us = of->least_us + (int)((unsigned)rand_r(seed) % (unsigned)(of->most_us - of->least_us + 1));
    dm_value values[5] = {dm_value_uint(number), dm_value_int(us), dm_value_uint(of->bytes)};
    bool has_input = number >= INPUT;
    if (has_input) {
        values[3] = dm_value_uint(before);
        values[4] = dm_value_ref(refs[before % WINDOW]);
    }
    refs[number % WINDOW] = dm_submit(&burns, NULL, values, has_input ? 5 : 3);
}

/* The result of a task, in the order of their numbers. */
static bool collect(uint64_t number)
{
    dm_view view;
    uint64_t head[2] = {0};
    bool right = false;
    dm_status status = dm_get_within(refs[number % WINDOW], &view, 60000);
    if (status == DM_OK) {
        right = is_right(&view, number);
        memcpy(head, view.data, sizeof head);
        right = right && (number < INPUT || head[1] == firsts[(number - INPUT) % WINDOW]);
        dm_view_release(&view);
    }
    if (!right)
        fprintf(stderr, "task %llu: %s\n", (unsigned long long)number,
                status == DM_OK ? "wrong bytes, or not those that another has seen" : dm_last_error());
    firsts[number % WINDOW] = head[0];
    return right;
}

/* So many tasks, BACK of them not read yet. Each is the input of a later one, which is told of it before it is there.
 * Number of wrong ones. */
static int work(const setting *of, uint64_t count, unsigned *seed)
{
    int wrong = 0;
    for (uint64_t until = next + count; next < until && wrong == 0;) {
        if (next >= BACK)
            wrong += !collect(next - BACK);
        if (next >= WINDOW)
            wrong += dm_release(refs[next % WINDOW]) != DM_OK;
        submit(of, seed);
    }
    return wrong;
}

static int release_all(void)
{
    int wrong = 0;
    for (uint64_t number = next < BACK ? 0 : next - BACK; number < next; number++)
        wrong += !collect(number);
    for (uint64_t number = next < WINDOW ? 0 : next - WINDOW; number < next; number++)
        wrong += dm_release(refs[number % WINDOW]) != DM_OK;
    return wrong;
}

/* ---- a soak ---- */

static int turn(const setting *of, uint64_t count, unsigned *seed, pace *p)
{
    int64_t begin = watch_now_us();
    int wrong = work(of, count, seed);
    p->us += watch_now_us() - begin;
    p->tasks += count;
    return wrong;
}

static void tell(const setting *of, const killer *k, const pace *with, const pace *without)
{
    int kills = atomic_load(&k->kills);
    printf("%s: %d kills in %.0f s, one in %.1f ms (meant: %d); %llu tasks below them, %.0f a second, %.0f without kills: "
           "%.0f %%\n", of->name, kills, (double)with->us / 1e6, (double)with->us / 1e3 / kills, of->every_ms,
           (unsigned long long)with->tasks, per_second(with), per_second(without),
           100 * per_second(with) / per_second(without));
}

static int what_is_left(void)
{
    dm_stats stats = {.refs = 1};
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    while (stats.refs != 0 && watch_now_ms() < until)
        if (dm_stats_get(&stats) != DM_OK)
            return printf("no stats: %s\n", dm_last_error());
    printf("%llu attempts were repeated\n", (unsigned long long)stats.tasks_retried);
    if (stats.refs == 0 && stats.objects == 0 && stats.store_used == 0 && stats.tasks_failed == 0)
        return 0;
    return printf("left: %llu refs, %llu objects, %zu bytes; failed: %llu tasks\n", (unsigned long long)stats.refs,
                  (unsigned long long)stats.objects, stats.store_used, (unsigned long long)stats.tasks_failed);
}

static int soak_in_session(const setting *of, unsigned seed, recovery *r)
{
    killer k = {.seed = seed, .every_ms = of->every_ms, .killed = note_death, .context = r};
    pace with = {0}, without = {0};
    int wrong = 0;
    next = 0;
    killer_begin(&k);
    while (wrong == 0 && (atomic_load(&k.kills) < of->kills || with.tasks < of->tasks)) {
        atomic_store(&k.paused, false);
        wrong += turn(of, of->turn, &seed, &with);
        atomic_store(&k.paused, true);
        wrong += work(of, 2 * WINDOW, &seed); /* what died is replaced meanwhile */
        wrong += turn(of, of->turn / 4, &seed, &without);
    }
    killer_end(&k);
    wrong += release_all();
    tell(of, &k, &with, &without);
    wrong += recovery_tell(r, of->name);
    return wrong + what_is_left();
}

static int soak(const setting *of, unsigned seed)
{
    residue before;
    char said[4096];
    recovery r = recovery_begin(of->kills + 100000);
    residue_begin(&before);
    session_begin_with(&(dm_options){.workers = 2, .store_bytes = 256 << 20, .retries = 100000, .log = driver_no_log});
    int wrong = soak_in_session(of, seed, &r);
    dm_shutdown();
    if (!residue_check(&before, said, sizeof said))
        wrong += printf("residue:\n%s", said);
    recovery_end(&r);
    fflush(stdout);
    return wrong;
}

int main(int argc, char **argv)
{
    static const setting full[] = {{"S1", 50, 12000, 1000000, 100, 1000, 64 << 10, 18000},
                                   {"S2", 5, 24000, 0, 50, 50, 4 << 10, 60000}},
                         brief[] = {{"S1", 50, 40, 2000, 100, 1000, 64 << 10, 500},
                                    {"S2", 5, 60, 0, 50, 50, 4 << 10, 500}};
    int status, wrong = 0;
    bool is_short = false;
    unsigned seed = (unsigned)watch_now_us();
    const char *only = "";
    test_worker_setup = open_notes;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0)
            is_short = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = (unsigned)strtoul(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
            only = argv[++i];
    }
    printf("seed %u\n", seed);
    fflush(stdout);
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    for (int i = 0; i < 2 && wrong == 0; i++)
        if (*only == 0 || strcmp(only, full[i].name) == 0)
            wrong = soak(is_short ? &brief[i] : &full[i], seed + (unsigned)i);
    test_end();
    return wrong != 0;
}
