/*
 * The ledger of spilled parts keeps its laws over random histories of parts that are entered, read, struck and
 * moved, and agrees with a naive list of what lives; what nobody needs is an idle run, at once, or when
 * what holds it lets go.
 */
#include "objectstore/ledger.h"

#include "tests/support/test.h"

enum { PARTS = 8, STORED = 1000, HISTORY = 20000, MOVED = 4096 };

typedef struct world {
    dmi_extents extents;
    dmi_ledger ledger;
    uint32_t ticket[HISTORY];
    uint32_t alive;
    uint64_t raw;
} world;

static void begin(world *w, bool holds)
{
    memset(w, 0, sizeof *w);
    dmi_extents_init(&w->extents, 64);
    dmi_ledger_init(&w->ledger, holds);
}

static void end(world *w)
{
    dmi_ledger_fini(&w->ledger);
    dmi_extents_fini(&w->extents);
}

static void check(const world *w)
{
    assert_true(dmi_ledger_is_valid(&w->ledger));
    assert_true(dmi_extents_is_valid(&w->extents));
    assert_int_equal(w->ledger.parts, w->alive);
    assert_int_equal(w->ledger.live_raw, w->raw);
}

static dmi_unit *new_unit(world *w, uint64_t bytes)
{
    dmi_unit *unit = malloc(sizeof *unit);
    dmi_run *run = dmi_extents_take(&w->extents, dmi_blocks_of(bytes), UINT64_MAX);
    assert_non_null(unit);
    assert_non_null(run);
    dmi_unit_init(unit, NULL, &w->extents, run);
    return unit;
}

static void enter(world *w, uint32_t n, unsigned *seed)
{
    uint32_t at = 0, first = w->alive;
    dmi_unit *unit = new_unit(w, (uint64_t)n * (STORED + DMI_PART_ALIGN));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t stored = 1 + (uint32_t)rand_r(seed) % STORED, ticket = dmi_ledger_take(&w->ledger);
        assert_int_not_equal(ticket, 0);
        dmi_ledger_enter(&w->ledger, ticket, unit, at, stored, 2 * stored);
        at += (stored + DMI_PART_ALIGN - 1) / DMI_PART_ALIGN * DMI_PART_ALIGN;
        w->ticket[first + i] = ticket;
        w->raw += 2 * stored;
    }
    w->alive += n;
    dmi_ledger_settle(&w->ledger, unit);
}

static void strike(world *w, uint32_t i)
{
    w->raw -= dmi_ledger_find(&w->ledger, w->ticket[i])->count;
    dmi_ledger_strike(&w->ledger, w->ticket[i], false);
    w->ticket[i] = w->ticket[--w->alive];
}

/* As tidy does: what lives in sparse units goes to a new one; some of it dies meanwhile. */
static bool move(world *w, unsigned *seed)
{
    dmi_unit *units[4];
    uint32_t n = dmi_ledger_begin_move(&w->ledger, units, 4), tickets[MOVED], from[MOVED];
    uint32_t parts = 0, at = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t t = units[i]->first; t; t = dmi_ledger_find(&w->ledger, t)->next) {
            assert_true(parts < MOVED);
            tickets[parts] = t;
            from[parts++] = i;
        }
    if (n && rand_r(seed) % 2 && w->alive)
        strike(w, (uint32_t)rand_r(seed) % w->alive);
    if (n && rand_r(seed) % 2)
        enter(w, 1, seed); /* may get a ticket that was just freed */
    if (n == 0)
        return false;
    dmi_unit *to = new_unit(w, (uint64_t)parts * (STORED + DMI_PART_ALIGN));
    for (uint32_t i = 0; i < parts; i++)
        if (dmi_ledger_move(&w->ledger, tickets[i], units[from[i]], to, at))
            at += STORED + DMI_PART_ALIGN;
    dmi_ledger_settle(&w->ledger, to);
    dmi_ledger_end_move(&w->ledger, units, n);
    return true;
}

static void history(bool holds, unsigned seed)
{
    static world w;
    dmi_unit *read[8] = {0};
    begin(&w, holds);
    for (int step = 0; step < 4000; step++) {
        int what = rand_r(&seed) % 8, reader = rand_r(&seed) % 8;
        if (what < 2 && w.alive < HISTORY - PARTS)
            enter(&w, 1 + (uint32_t)rand_r(&seed) % PARTS, &seed);
        else if (what < 6 && w.alive)
            strike(&w, (uint32_t)rand_r(&seed) % w.alive);
        else if (what == 6)
            move(&w, &seed);
        else if (read[reader]) {
            dmi_ledger_release(&w.ledger, read[reader]);
            read[reader] = NULL;
        } else if (w.alive) {
            read[reader] = dmi_ledger_find(&w.ledger, w.ticket[rand_r(&seed) % w.alive])->unit;
            dmi_unit_hold(read[reader]);
        }
        if (holds && step % 500 == 0)
            dmi_ledger_let_go(&w.ledger);
        if (step % 16 == 0)
            check(&w);
    }
    for (int i = 0; i < 8; i++)
        if (read[i])
            dmi_ledger_release(&w.ledger, read[i]);
    while (w.alive)
        strike(&w, w.alive - 1);
    dmi_ledger_let_go(&w.ledger);
    check(&w);
    assert_int_equal(w.extents.count[DMI_RUN_LIVE], 0);
    end(&w);
}

static void laws_hold(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed < 6; seed++) {
        history(false, seed);
        history(true, seed);
    }
}

static void sparse_units_shrink_to_what_lives(void **state)
{
    (void)state;
    static world w;
    unsigned seed = 5;
    begin(&w, false);
    for (int i = 0; i < 200; i++)
        enter(&w, PARTS, &seed);
    while (w.alive > 200)
        strike(&w, (uint32_t)rand_r(&seed) % w.alive);
    int moves = 0;
    seed = 0;
    while (dmi_ledger_can_move(&w.ledger) && moves++ < 10000)
        move(&w, &seed);
    assert_true(moves < 10000);
    check(&w);
    end(&w);
}

static void what_is_read_stays(void **state)
{
    (void)state;
    static world w;
    unsigned seed = 5;
    begin(&w, false);
    enter(&w, 1, &seed);
    dmi_unit *unit = dmi_ledger_find(&w.ledger, w.ticket[0])->unit;
    dmi_unit_hold(unit);
    strike(&w, 0);
    assert_int_equal(w.extents.count[DMI_RUN_IDLE], 0);
    dmi_ledger_release(&w.ledger, unit);
    assert_int_equal(w.extents.count[DMI_RUN_LIVE], 0);
    end(&w);
}

static void held_until_let_go(void **state)
{
    (void)state;
    static world w;
    unsigned seed = 5;
    begin(&w, true);
    enter(&w, PARTS, &seed);
    enter(&w, PARTS, &seed);
    dmi_unit *unit = dmi_ledger_find(&w.ledger, w.ticket[0])->unit;
    dmi_unit_hold(unit); /* read beyond the end of the scope */
    while (w.alive)
        strike(&w, 0);
    assert_int_equal(w.extents.count[DMI_RUN_IDLE], 0);
    dmi_ledger_let_go(&w.ledger);
    assert_int_not_equal(w.extents.count[DMI_RUN_IDLE], 0);
    dmi_ledger_release(&w.ledger, unit);
    assert_int_equal(w.extents.count[DMI_RUN_LIVE], 0);
    end(&w);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(laws_hold),
    cmocka_unit_test(sparse_units_shrink_to_what_lives),
    cmocka_unit_test(what_is_read_stays),
    cmocka_unit_test(held_until_let_go),
};

TEST_MAIN(tests, NULL)
