/*
 * Threads that write, read, free and tidy at once, with room and at the limit: every byte that is read is right,
 * though tidying moves what lies there, and in the end nothing is left.
 */
#include <pthread.h>

#include "tests/support/spilling.h"

enum { THREADS = 4, OBJECTS = 60, STEPS = 600, MOST = 200 << 10 };

typedef struct object {
    uint32_t ticket;
    unsigned seed;
    size_t bytes;
} object;

typedef struct player {
    dmi_spill *spill;
    unsigned seed;
    object objects[OBJECTS];
    char *bytes, *found;
    uint64_t read, full;
} player;

/* Of neighbours the seeds differ, and so do all bytes. */
static void fill(char *to, size_t bytes, unsigned seed)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (char)(i % 4 == 3 ? seed : (i * 31 + seed) ^ (i >> 7) * seed);
}

static size_t some_size(unsigned *seed)
{
    return (size_t)rand_r(seed) % (rand_r(seed) % 4 ? 3000 : MOST);
}

static dmi_part new_part(player *p, object *o, char *at, size_t bytes)
{
    *o = (object){.seed = (unsigned)rand_r(&p->seed), .bytes = bytes};
    fill(at, bytes, o->seed);
    return (dmi_part){.bytes = at, .count = bytes, .element = 4, .id = o->seed};
}

/* One, or all that are missing, as far as there is room. */
static void write_some(player *p, int first)
{
    dmi_part parts[OBJECTS];
    int which[OBJECTS], n = 0;
    size_t at = 0;
    for (int i = first; i < OBJECTS && at < MOST; i++) {
        if (p->objects[i].ticket)
            continue;
        size_t bytes = some_size(&p->seed);
        parts[n] = new_part(p, &p->objects[i], p->bytes + at, bytes);
        at += bytes;
        which[n++] = i;
        if (rand_r(&p->seed) % 8 == 0)
            break;
    }
    dm_status status = dmi_spill_write(p->spill, parts, (size_t)n, NULL);
    if (status != DM_OK && status != DM_ERR_DISK_FULL) {
        fprintf(stderr, "%s\n", dm_last_error());
        abort();
    }
    p->full += status != DM_OK;
    for (int i = 0; i < n; i++)
        p->objects[which[i]].ticket = parts[i].ticket;
}

static void read_one(player *p, const object *o)
{
    dm_status status = dmi_spill_read(p->spill, o->ticket, o->seed, p->found, o->bytes);
    fill(p->bytes, o->bytes, o->seed);
    if (status != DM_OK || memcmp(p->bytes, p->found, o->bytes) != 0) {
        fprintf(stderr, "%zu bytes came back wrong: %s\n", o->bytes, dm_last_error());
        abort();
    }
    p->read += o->bytes;
}

static void *play(void *of)
{
    player *p = of;
    for (int step = 0; step < STEPS; step++) {
        object *o = &p->objects[rand_r(&p->seed) % OBJECTS];
        int what = rand_r(&p->seed) % 4;
        if (o->ticket == 0)
            write_some(p, (int)(o - p->objects));
        else if (what == 0) {
            dmi_spill_free(p->spill, o->ticket);
            o->ticket = 0;
        } else
            read_one(p, o);
        if (step % 16 == 0 && dmi_spill_untidy(p->spill))
            dmi_spill_tidy(p->spill);
    }
    for (int i = 0; i < OBJECTS; i++)
        if (p->objects[i].ticket)
            dmi_spill_free(p->spill, p->objects[i].ticket);
    return NULL;
}

static void stress(dmi_spill_policy policy, uint64_t limit)
{
    static player players[THREADS];
    pthread_t threads[THREADS];
    dmi_spill_stats stats;
    uint64_t read = 0, full = 0;
    dmi_spill_settings settings = spilling_settings();
    settings.policy = policy, settings.limit_bytes = limit;
    dmi_spill *spill = spilling_begin(&settings);
    for (unsigned i = 0; i < THREADS; i++) {
        players[i] = (player){
            .spill = spill, .seed = i + 1, .bytes = malloc(2 * MOST), .found = malloc(MOST)};
        assert_int_equal(pthread_create(&threads[i], NULL, play, &players[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        read += players[i].read;
        full += players[i].full;
        free(players[i].bytes);
        free(players[i].found);
    }
    dmi_spill_scope_end(spill);
    spilling_tidy(spill);
    dmi_spill_stats_get(spill, &stats);
    assert_int_equal(stats.read_raw, read);
    assert_int_equal(stats.parts, 0);
    assert_true((full > 0) == (limit > 0));
    if (policy == DMI_SPILL_AUTO)
        assert_true(stats.moved > 0);
    assert_int_equal(stats.on_disk, 0);
    assert_int_equal(spilling_open_files().disk_bytes, 0);
    dmi_spill_destroy(spill);
}

static void all_at_once(void **state)
{
    (void)state;
    stress(DMI_SPILL_AUTO, 0);
}

static void all_at_once_at_the_limit(void **state)
{
    (void)state;
    stress(DMI_SPILL_AUTO, 1 << 20);
}

static void all_at_once_in_a_session(void **state)
{
    (void)state;
    stress(DMI_SPILL_SESSION, 0);
}

/* ---- many read one ---- */

typedef struct race {
    dmi_spill *spill;
    uint32_t ticket;
    atomic_int reading;
} race;

static void *read_it(void *of)
{
    race *r = of;
    char *found = malloc(MOST), *expected = malloc(MOST);
    fill(expected, MOST, 1);
    atomic_fetch_add(&r->reading, 1);
    if (dmi_spill_read(r->spill, r->ticket, 1, found, MOST) != DM_OK ||
        memcmp(found, expected, MOST) != 0)
        abort();
    free(found);
    free(expected);
    return NULL;
}

static void readers_of_one_part(void **state)
{
    (void)state;
    char *bytes = malloc(MOST);
    dmi_spill *spill = spilling_begin(NULL);
    for (int round = 0; round < 50; round++) {
        pthread_t threads[THREADS];
        race r = {.spill = spill};
        fill(bytes, MOST, 1);
        dmi_part part = {.bytes = bytes, .count = MOST, .element = 1, .id = 1};
        assert_ok(dmi_spill_write(spill, &part, 1, NULL));
        r.ticket = part.ticket;
        for (int i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_it, &r), 0);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        dmi_spill_free(spill, part.ticket);
        dmi_spill_tidy(spill);
    }
    dmi_spill_destroy(spill);
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(all_at_once),
    cmocka_unit_test(all_at_once_at_the_limit),
    cmocka_unit_test(all_at_once_in_a_session),
    cmocka_unit_test(readers_of_one_part),
};

TEST_MAIN(tests, NULL)
