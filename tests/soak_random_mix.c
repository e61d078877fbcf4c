/*
 * Random mixes of all calls, from several threads of the program and from tasks up to eight deep, against a plain
 * model of what must come of each (tests/support/mixed_player.h), while workers are killed, tasks hang until they are ended,
 * and writes to the disk fail, find no room or are short: no answer that the model does not allow, nobody waits for ever,
 * and nothing is left, nor does the program's memory grow.
 *
 * A round is a session whose settings, too, come from its seed, and so many mixes in it. `--short` for every run of
 * the suite; `--seed N --rounds 1` repeats a round, as far as the machine lets it.
 */
#include <malloc.h>

#include "runtime/session.h"
#include "tests/support/dawdle.h"
#include "tests/support/killer.h"
#include "tests/support/mixed_player.h"
#include "tests/support/moody.h"

enum { PLAYERS = 3, DEPTH = 8, STEPS = 250, MIXES = 3 };

size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

typedef struct setting {
    dm_engine engine;
    int workers, players, kill_ms; /* kill_ms: 0 for no kills */
    bool dawdles;                  /* all sleep before some of their stores */
    bool is_moody;                 /* the disk */
    bool hangs;                    /* some tasks do */
    size_t store_bytes;
    dm_options options;
} setting;

static setting setting_of(uint64_t seed)
{
    static const size_t stores[] = {4 << 20, 12 << 20, 128 << 20};
    uint64_t random = mixed_mix(seed, 0);
    setting s = {.engine =
                     marked_random(&random) % 3 == 0 ? DM_ENGINE_THREADS : DM_ENGINE_PROCESSES,
                 .workers = 1 + (int)(marked_random(&random) % 4),
                 .players = 1 + (int)(marked_random(&random) % PLAYERS)};
    bool is_killed = s.engine == DM_ENGINE_PROCESSES && marked_random(&random) % 3 != 0;
    s.kill_ms = is_killed ? (watch_sanitized() ? 60 : 20) + (int)(marked_random(&random) % 100) : 0;
    s.dawdles = marked_random(&random) % 3 == 0;
    s.is_moody = marked_random(&random) % 2;
    s.hangs = s.engine == DM_ENGINE_PROCESSES && marked_random(&random) % 2;
    s.kill_ms *= s.dawdles ? 8 : 1; /* a start is slow, too, and must have a chance */
    s.options = (dm_options){.engine = s.engine,
                             .workers = s.workers,
                             .store_bytes = stores[marked_random(&random) % 3],
                             .spill_threshold = marked_random(&random) % 2 ? 0.01 : 0, /* nearly all that may leave does */
                             .inline_bytes = marked_random(&random) % 2 ? 100 : 0,
                             .cancel_grace_ms = marked_random(&random) % 2 ? 5 : 0,
                             .store_wait_ms = WATCH_PATIENCE_MS,
                             .retries = 10000,
                             .log = driver_no_log};
    return s;
}

static void *play_a_part(void *argument)
{
    player *p = argument;
    play(p, STEPS);
    return NULL;
}

/* All at once, each a mix of its own. The number of those that were not as they must be. */
static int play_together(uint64_t seed, int count)
{
    pthread_t threads[PLAYERS];
    player *players = calloc(PLAYERS, sizeof *players);
    int wrong = 0;
    if (players == NULL)
        abort();
    for (int i = 0; i < count; i++) {
        players[i].seed = mixed_mix(seed, (uint64_t)i);
        players[i].depth = DEPTH - 1;
        if (pthread_create(&threads[i], NULL, play_a_part, &players[i]) != 0)
            abort();
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        if (players[i].m.wrong[0] != 0)
            wrong += fprintf(stderr, "player %d, step %llu: %s\n", i,
                             (unsigned long long)players[i].steps, players[i].m.wrong);
    }
    free(players);
    return wrong;
}

/* Nothing is alive, in memory or on disk. */
static int what_is_left(dm_stats *stats)
{
    int64_t until = watch_now_ms() + WATCH_PATIENCE_MS;
    *stats = (dm_stats){.refs = 1};
    while ((stats->refs != 0 || stats->disk_bytes != 0) && watch_now_ms() < until) {
        watch_pause();
        if (dm_stats_get(stats) != DM_OK)
            return 1;
    }
    if (stats->refs == 0 && stats->objects == 0 && stats->store_used == 0 && stats->disk_bytes == 0)
        return 0;
    return fprintf(stderr, "left: %llu refs, %llu objects, %zu bytes in memory, %llu on disk\n",
                   (unsigned long long)stats->refs, (unsigned long long)stats->objects,
                   stats->store_used, (unsigned long long)stats->disk_bytes);
}

static int play_in_session(uint64_t seed, const setting *s)
{
    killer k = {.seed = (unsigned)seed, .most_ms = s->kill_ms};
    dm_stats stats = {0};
    int wrong = 0;
    if (s->dawdles)
        dawdle_begin(seed);
    player_may_hang = s->hangs;
    session_begin_with(&s->options);
    atomic_store(&moody, s->is_moody);
    if (s->kill_ms != 0)
        killer_begin(&k);
    for (int i = 0; i < MIXES && wrong == 0; i++) {
        wrong = play_together(mixed_mix(seed, (uint64_t)i + 1), s->players);
        if (wrong == 0)
            wrong = what_is_left(&stats);
    }
    if (s->kill_ms != 0)
        killer_end(&k);
    printf("%d kills, %llu tasks, %llu again, %llu failed, spilled %llu KiB\n",
           atomic_load(&k.kills), (unsigned long long)stats.tasks_submitted,
           (unsigned long long)stats.tasks_retried, (unsigned long long)stats.tasks_failed,
           (unsigned long long)stats.spilled_total >> 10);
    atomic_store(&moody, false);
    dm_shutdown();
    dawdle_end();
    return wrong;
}

/* 0 if all was as it must be. */
static int play_round(uint64_t seed, const residue *before)
{
    char said[4096];
    setting s = setting_of(seed);
    printf("seed %llu: %s%s%s%s, %d workers, %d players, store %zu MiB: ", (unsigned long long)seed,
           s.dawdles ? "slow " : "", s.is_moody ? "moody " : "", s.hangs ? "hanging " : "",
           s.engine == DM_ENGINE_THREADS ? "threads" : "processes", s.workers, s.players,
           s.options.store_bytes >> 20);
    fflush(stdout);
    int wrong = play_in_session(seed, &s);
    if (!residue_check(before, said, sizeof said))
        wrong += fprintf(stderr, "residue:\n%s", said);
    if (wrong != 0)
        fprintf(stderr, "to repeat it: --seed %llu --rounds 1\n", (unsigned long long)seed);
    fflush(stdout);
    return wrong;
}

/* Of the program, when there is no session. */
static size_t allocated_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes()
                                                   : mallinfo2().uordblks;
}

static int soak(uint64_t seed, int rounds)
{
    enum { GROWTH = 64 << 10 };
    /* A session's head stays for ever, on purpose: a thread may be on its way into it. */
    const size_t growth = GROWTH + (size_t)(rounds / 2 + 1) * sizeof(dmi_session);
    residue before;
    size_t early = 0, late = 0;
    int wrong = 0;
    residue_begin(&before);
    for (int i = 0; i < rounds && wrong == 0; i++) {
        wrong = play_round(seed + (uint64_t)i, &before);
        size_t now = allocated_bytes();
        if (i < rounds / 2)
            early = now > early ? now : early;
        else
            late = now > late ? now : late;
    }
    if (wrong == 0 && rounds > 1 && late > early + growth)
        wrong += fprintf(stderr,
                         "memory: %zu bytes in the first half of the rounds, %zu in the second\n",
                         early, late);
    return wrong;
}

__attribute__((constructor)) static void set_up(void)
{
    test_worker_setup = dawdle_join;
}

int main(int argc, char **argv)
{
    int status, rounds = 1500;
    uint64_t seed = (uint64_t)watch_now_us();
    bool is_short = false;
    if (test_began_elsewhere(argc, argv, NULL, &status))
        return status;
    moody_set_up();
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--short") == 0) {
            is_short = true;
            rounds = 4;
        } else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            rounds = atoi(argv[++i]);
        }
    }
    watch_dog(is_short ? WATCH_DOG_S : 7000);
    int wrong = soak(seed, rounds);
    test_end();
    return wrong != 0;
}
