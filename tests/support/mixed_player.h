/*
 * mixed_player.h - plays a random mix of all calls and holds each answer against the model: in the program, and, by
 * the same code, in tasks, which play on their part. One seed is one mix; what the machine does to it is not in it.
 */
#ifndef TEST_SUPPORT_MIXED_PLAYER_H
#define TEST_SUPPORT_MIXED_PLAYER_H

#include "tests/support/mixed_tasks.h"

enum { PLAYER_PATIENCE_MS = 60000, PLAYER_VIEWS = 4, PLAYER_GIVEN = 3, PLAYER_MAPPED = 400 };

DM_REMOTE_DECLARE(mixed_plays);

typedef struct player {
    mixed m;
    uint64_t seed, random;
    dm_call *call; /* of the task that plays; NULL: the program does */
    int depth;     /* so many levels may play below */
    int scopes;
    struct {
        dm_view view;
        uint64_t number;
    } views[PLAYER_VIEWS];
    int view_count;
    uint64_t steps; /* taken */
} player;

static unsigned below(player *p, unsigned n)
{
    return (unsigned)(marked_random(&p->random) % n);
}

static uint64_t any_number(player *p)
{
    return mixed_mix(marked_random(&p->random), marked_random(&p->random));
}

/* Is it us who are to stop? Then what comes of our tasks says nothing. Told a moment later than they, perhaps. */
static bool is_told(player *p)
{
    if (p->call == NULL)
        return false;
    for (int i = 0; p->m.wrong[0] != 0 && i < 1000 && !dm_cancelled(p->call); i++)
        watch_pause();
    return dm_cancelled(p->call);
}

/* ---- new values ---- */

/* NULL now and then. What it says changes the order of things, never what comes of them. */
static const dm_task_options *any_options(player *p, dm_task_options *options)
{
    static const char *const names[] = {
        NULL, "a name",
        "another name that does not fit where a short one does: it is "
        "beside it"};
    if (below(p, 2))
        return NULL;
    *options = (dm_task_options){
        .name = names[below(p, 3)],
        .priority = below(p, 2) ? (int)below(p, 2001) - 1000 : 0,
        .cpus = below(p, 8) == 0 ? 1 + (int)below(p, 3) : 0,
        .cost_ns = below(p, 4) == 0 ? 1 + (int64_t)below(p, 2000000) : 0,
        .retry_on = below(p, 4) == 0 ? DM_ON(DM_ERR_IO) | DM_ON(DM_ERR_NUMERIC) : 0};
    return options;
}

static int64_t any_time_us(player *p)
{
    return below(p, 6) == 0 ? below(p, 20000) : 0;
}

static bool is_plain(player *p, int value)
{
    return mixed_thing_at(&p->m, value)->kind <= MIXED_WORDS;
}

/* Up to `most` of the values that have a number; how many. */
static int any_plain(player *p, int *values, int most)
{
    int count = 0;
    for (int tries = (int)below(p, (unsigned)(2 * most + 1));
         tries > 0 && count < most && p->m.value_count > 0; tries--) {
        int value = (int)below(p, (unsigned)p->m.value_count);
        if (is_plain(p, value))
            values[count++] = value;
    }
    return count;
}

static void put(player *p)
{
    uint64_t number = any_number(p);
    mixed_kind kind = mixed_kind_of(number);
    size_t bytes = mixed_bytes_of(number);
    dm_ref ref = mixed_put(kind, bytes, number);
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].put = true;
    p->m.deeds[deed].fate = MIXED_FINE;
    mixed_hold(&p->m, ref, mixed_thing_of(&p->m, deed, kind, number, bytes));
}

static void make_and_abandon(player *p)
{
    dm_buffer buffer;
    size_t words = 1 + below(p, 5000);
    dm_status status = dm_create(DM_U64, 1, &words, &buffer);
    if (status != DM_OK) {
        mixed_wrong(&p->m, "dm_create: %s: %s", dm_status_name(status), dm_last_error());
        return;
    }
    mixed_fill(buffer.data, words * 8, 1);
    dm_abandon(&buffer);
}

/* A task with inputs, of one value or several. */
static void make(player *p)
{
    dm_value arguments[4 + MIXED_INPUTS];
    dm_task_options options;
    dm_ref refs[MIXED_PARTS];
    int inputs[MIXED_INPUTS];
    uint64_t number = any_number(p), given = number;
    mixed_kind kind = mixed_kind_of(any_number(p));
    size_t bytes = mixed_bytes_of(any_number(p));
    int count = any_plain(p, inputs, MIXED_INPUTS), deed = mixed_deed_of(&p->m);
    size_t places = below(p, 4) == 0 ? 2 + below(p, MIXED_PARTS - 1) : 1;
    arguments[1] = dm_value_int(any_time_us(p));
    arguments[2] = dm_value_int((int)kind);
    arguments[3] = dm_value_uint(bytes);
    for (int i = 0; i < count; i++) {
        arguments[4 + i] = dm_value_ref(p->m.values[inputs[i]].ref);
        number = mixed_mix(number, mixed_thing_at(&p->m, inputs[i])->number);
        p->m.deeds[deed].input[p->m.deeds[deed].inputs++] = mixed_thing_at(&p->m, inputs[i])->deed;
    }
    arguments[0] = dm_value_uint(given);
    const dm_task_options *with = any_options(p, &options);
    if (places == 1)
        refs[0] = dm_submit(&mixed_make, with, arguments, (size_t)(4 + count));
    else
        dm_submit_n(&mixed_make, with, arguments, (size_t)(4 + count), refs, places);
    for (size_t i = 0; i < places; i++)
        mixed_hold(
            &p->m, refs[i],
            mixed_thing_of(&p->m, deed, kind, places == 1 ? number : mixed_mix(number, i), bytes));
}

static void make_a_failure(player *p)
{
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].fails = true;
    mixed_hold(&p->m, dm_remote(mixed_fails, any_number(p)),
               mixed_thing_of(&p->m, deed, MIXED_NUMBER, 0, 0));
}

/* May tasks be ended by force? Then the program begins some that never end. */
static bool player_may_hang;

static void hang(player *p)
{
    if (p->call != NULL || !player_may_hang)
        return;
    dm_task_options options = {.limit_ms = 1 + below(p, 50), .retries = DM_NONE};
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].fails = p->m.deeds[deed].hangs = true;
    mixed_hold(&p->m, dm_remote_with(&options, mixed_hangs), mixed_thing_of(&p->m, deed, MIXED_NUMBER, 0, 0));
}

static void nothing(player *p)
{
    mixed_hold(&p->m, dm_remote(mixed_nothing),
               mixed_thing_of(&p->m, mixed_deed_of(&p->m), MIXED_NIL, 0, 0));
}

/* What a family or one that hands on begins, as the model knows it: part `i`. */
static int child_of(player *p, int parent, uint64_t number, int i)
{
    uint64_t own = mixed_mix(number, (uint64_t)i);
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].parent = parent;
    p->m.deeds[deed].put = mixed_is_put(number, i);
    return mixed_thing_of(&p->m, deed, mixed_kind_of(own), own, mixed_bytes_of(own));
}

static void found_family(player *p)
{
    dm_task_options options;
    uint64_t number = any_number(p);
    int parts = (int)below(p, MIXED_PARTS + 1), deed = mixed_deed_of(&p->m);
    int thing = mixed_thing_of(&p->m, deed, MIXED_LIST, number, 0);
    for (int i = 0; i < parts; i++)
        p->m.things[thing].part[p->m.things[thing].parts++] = child_of(p, deed, number, i);
    mixed_hold(
        &p->m,
        dm_remote_with(any_options(p, &options), mixed_family, number, parts, any_time_us(p)),
        thing);
}

static void hand_on(player *p)
{
    uint64_t number = any_number(p);
    int deed = mixed_deed_of(&p->m), thing = mixed_thing_of(&p->m, deed, MIXED_REF, number, 0);
    p->m.things[thing].part[0] = child_of(p, deed, number, 0);
    p->m.things[thing].parts = 1;
    mixed_hold(&p->m, dm_remote(mixed_hands_on, number, any_time_us(p)), thing);
}

static void list(player *p)
{
    int values[MIXED_PARTS], count = any_plain(p, values, MIXED_PARTS), deed = mixed_deed_of(&p->m);
    dm_ref refs[MIXED_PARTS];
    int thing = mixed_thing_of(&p->m, deed, MIXED_LIST, 0, 0);
    p->m.deeds[deed].put = true;
    p->m.deeds[deed].fate = MIXED_FINE;
    for (int i = 0; i < count; i++) {
        refs[i] = p->m.values[values[i]].ref;
        p->m.things[thing].part[p->m.things[thing].parts++] = p->m.values[values[i]].thing;
    }
    mixed_hold(&p->m, dm_put(&DM_REF_LIST(refs, (size_t)count)), thing);
}

/* A task that reads a list: one that is a value, or the argument itself. */
static void read_list(player *p)
{
    uint64_t number = any_number(p), sum = number;
    int values[MIXED_PARTS], count = 0, deed = mixed_deed_of(&p->m), from = -1;
    mixed_deed *d = &p->m.deeds[deed];
    dm_ref refs[MIXED_PARTS];
    for (int i = 0; i < p->m.value_count && below(p, 3); i++)
        if (mixed_thing_at(&p->m, i)->kind == MIXED_LIST)
            from = i;
    if (from < 0)
        count = any_plain(p, values, MIXED_PARTS);
    for (int i = 0; i < (from < 0 ? count : mixed_thing_at(&p->m, from)->parts); i++) {
        const mixed_thing *part = from < 0 ? mixed_thing_at(&p->m, values[i])
                                           : &p->m.things[mixed_thing_at(&p->m, from)->part[i]];
        sum = mixed_mix(sum, part->number);
        d->inside[d->insides++] = part->deed;
        if (from < 0)
            refs[i] = p->m.values[values[i]].ref;
    }
    if (from >= 0)
        d->input[d->inputs++] = mixed_thing_at(&p->m, from)->deed;
    dm_ref ref = from < 0 ? dm_remote(mixed_reads, number, &DM_REF_LIST(refs, (size_t)count))
                          : dm_remote(mixed_reads, number, p->m.values[from].ref);
    mixed_hold(&p->m, ref, mixed_thing_of(&p->m, deed, MIXED_NUMBER, sum, 0));
}

static void build(player *p)
{
    int value = p->m.value_count == 0 ? 0 : (int)below(p, (unsigned)p->m.value_count);
    if (p->m.value_count == 0 || !is_plain(p, value) ||
        mixed_thing_at(&p->m, value)->kind == MIXED_NUMBER)
        return;
    uint64_t number = any_number(p);
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].input[p->m.deeds[deed].inputs++] = mixed_thing_at(&p->m, value)->deed;
    mixed_hold(&p->m, dm_remote(mixed_builds, number, p->m.values[value].ref),
               mixed_thing_of(&p->m, deed, MIXED_NUMBER,
                              mixed_mix(number, mixed_thing_at(&p->m, value)->number), 0));
}

/* A task that plays, with some of what is known to be there. */
static void play_below(player *p)
{
    dm_value arguments[3 + 1 + 3 * PLAYER_GIVEN];
    dm_task_options options;
    dm_ref refs[PLAYER_GIVEN];
    int values[PLAYER_GIVEN], count = any_plain(p, values, PLAYER_GIVEN), given = 0;
    uint64_t seed = any_number(p);
    bool is_tower = below(p, 4) == 0; /* all the way down, each with one below it */
    unsigned steps = is_tower ? 3 : 5 + below(p, 30);
    if (p->depth == 0)
        return;
    for (int i = 0; i < count; i++) {
        const mixed_thing *thing = mixed_thing_at(&p->m, values[i]);
        if (p->m.deeds[thing->deed].fate != MIXED_FINE)
            continue;
        refs[given] = p->m.values[values[i]].ref;
        arguments[4 + 3 * given] = dm_value_uint(thing->number);
        arguments[5 + 3 * given] = dm_value_int((int)thing->kind);
        arguments[6 + 3 * given] = dm_value_uint(thing->bytes);
        given++;
    }
    const dm_ref_list list_of = DM_REF_LIST(refs, (size_t)given);
    arguments[0] = dm_value_uint(seed);
    arguments[1] = dm_value_int(is_tower ? -p->depth : p->depth - 1);
    arguments[2] = dm_value_uint(steps);
    arguments[3] = dm_value_refs(&list_of);
    mixed_hold(
        &p->m,
        dm_submit(&mixed_plays, any_options(p, &options), arguments, (size_t)(4 + 3 * given)),
        mixed_thing_of(&p->m, mixed_deed_of(&p->m), MIXED_NUMBER, mixed_mix(seed, 77), 0));
}

/* ---- looking ---- */

static void heard(player *p, int value, dm_status status, int64_t within_ms)
{
    int deed = mixed_thing_at(&p->m, value)->deed;
    if (status == DM_OK)
        mixed_is_fine(&p->m, deed);
    else if (status != DM_ERR_TIMEOUT)
        mixed_has_failed(&p->m, deed, status);
    else if (within_ms == PLAYER_PATIENCE_MS)
        mixed_wrong(&p->m, "deed %d does not end", deed);
}

static void is_number(player *p, int value, uint64_t number)
{
    if (number != mixed_thing_at(&p->m, value)->number)
        mixed_wrong(&p->m, "deed %d: %llu instead of %llu", mixed_thing_at(&p->m, value)->deed,
                    (unsigned long long)number,
                    (unsigned long long)mixed_thing_at(&p->m, value)->number);
}

static void look_at_view(player *p, int value, int64_t within_ms)
{
    dm_view view;
    uint64_t number = 0;
    dm_status status = dm_get_within(p->m.values[value].ref, &view, within_ms);
    heard(p, value, status, within_ms);
    if (status != DM_OK)
        return;
    if (mixed_number_of_view(&view, &number) != DM_OK)
        mixed_wrong(&p->m, "%s", dm_last_error());
    is_number(p, value, number);
    if (p->view_count < PLAYER_VIEWS && below(p, 4) == 0) {
        p->views[p->view_count].view = view;
        p->views[p->view_count++].number = number;
    } else {
        dm_view_release(&view);
    }
}

static void look_at_number(player *p, int value, int64_t within_ms)
{
    uint64_t number;
    dm_status status = dm_get_within(p->m.values[value].ref, &number, within_ms);
    heard(p, value, status, within_ms);
    if (status == DM_OK)
        is_number(p, value, number);
}

static void look_at_text(player *p, int value, int64_t within_ms)
{
    char *text;
    dm_status status = dm_get_within(p->m.values[value].ref, &text, within_ms);
    heard(p, value, status, within_ms);
    if (status != DM_OK)
        return;
    is_number(p, value, strtoull(text, NULL, 10));
    free(text);
}

/* Some of what it names is held from now on. */
static void look_at_list(player *p, int value, int64_t within_ms)
{
    dm_ref_list list_of;
    int thing = p->m.values[value].thing, parts = p->m.things[thing].parts;
    dm_status status = dm_get_within(p->m.values[value].ref, &list_of, within_ms);
    heard(p, value, status, within_ms);
    if (status != DM_OK)
        return;
    if (list_of.count != (size_t)parts)
        mixed_wrong(&p->m, "a list of %zu instead of %d", list_of.count, parts);
    for (int i = 0; i < parts && p->m.wrong[0] == 0; i++)
        if (below(p, 2) && mixed_has_room(&p->m)) {
            if (dm_retain(list_of.refs[i]) != DM_OK)
                mixed_wrong(&p->m, "dm_retain: %s", dm_last_error());
            mixed_hold(&p->m, list_of.refs[i], p->m.things[thing].part[i]);
            p->m.values[p->m.value_count - 1].retained = true;
        }
    dm_ref_list_release(&list_of);
}

static void look_at_ref(player *p, int value, int64_t within_ms)
{
    dm_ref inner;
    int thing = p->m.values[value].thing;
    dm_status status = dm_get_within(p->m.values[value].ref, &inner, within_ms);
    heard(p, value, status, within_ms);
    if (status == DM_OK)
        mixed_hold(&p->m, inner, p->m.things[thing].part[0]);
}

static void look_at(player *p, int value)
{
    int64_t within_ms = below(p, 4) == 0   ? 0
                        : below(p, 8) == 0 ? (int64_t)below(p, 20)
                                           : PLAYER_PATIENCE_MS;
    switch (below(p, 10) == 0 ? MIXED_NIL : mixed_thing_at(&p->m, value)->kind) {
    case MIXED_NUMBER:
        look_at_number(p, value, within_ms);
        break;
    case MIXED_TEXT:
        (below(p, 2) ? look_at_text : look_at_view)(p, value, within_ms);
        break;
    case MIXED_WORDS:
        look_at_view(p, value, within_ms);
        break;
    case MIXED_LIST:
        look_at_list(p, value, within_ms);
        break;
    case MIXED_REF:
        look_at_ref(p, value, within_ms);
        break;
    default:
        heard(p, value, dm_get_within(p->m.values[value].ref, (void *)NULL, within_ms), within_ms);
        break;
    }
}

static void look(player *p)
{
    look_at(p, (int)below(p, (unsigned)p->m.value_count));
}

static void wait_for_some(player *p)
{
    dm_ref refs[16];
    bool ready[16];
    int values[16];
    unsigned n = 1 + below(p, 16), k = below(p, n + 1), count = 0;
    int64_t within_ms = below(p, 3) == 0 ? 0
                        : below(p, 2)    ? 1 + (int64_t)below(p, 20)
                                         : PLAYER_PATIENCE_MS;
    for (unsigned i = 0; i < n; i++) {
        values[i] = (int)below(p, (unsigned)p->m.value_count);
        refs[i] = p->m.values[values[i]].ref;
    }
    dm_status status = dm_wait(refs, n, k, within_ms, ready);
    if (status != DM_OK && (status != DM_ERR_TIMEOUT || within_ms == PLAYER_PATIENCE_MS)) {
        mixed_wrong(&p->m, "dm_wait for %u of %u: %s: %s", k, n, dm_status_name(status),
                    dm_last_error());
        return;
    }
    for (unsigned i = 0; i < n; i++)
        count += ready[i];
    if (status == DM_OK && count < k)
        mixed_wrong(&p->m, "dm_wait for %u of %u: %u are ready", k, n, count);
    for (unsigned i = 0; i < n && p->m.wrong[0] == 0; i++)
        if (ready[i])
            heard(p, values[i], dm_get(refs[i], (void *)NULL), DM_NONE);
}

/* ---- holding, letting go, cancelling ---- */

static void let_go(player *p, int value)
{
    mixed_value *v = &p->m.values[value];
    if (dm_release(v->ref) != DM_OK)
        mixed_wrong(&p->m, "dm_release: %s", dm_last_error());
    if (--v->holds == 0)
        *v = p->m.values[--p->m.value_count];
}

static void hold_more(player *p)
{
    mixed_value *v = &p->m.values[below(p, (unsigned)p->m.value_count)];
    if (dm_retain(v->ref) != DM_OK)
        mixed_wrong(&p->m, "dm_retain: %s", dm_last_error());
    v->holds++;
    v->retained = true;
}

/* A number that is gone, and one that never was. */
static void ask_for_what_is_not(player *p)
{
    uint64_t x;
    dm_ref ref = dm_put(any_number(p));
    if (dm_release(ref) != DM_OK)
        mixed_wrong(&p->m, "dm_release: %s", dm_last_error());
    dm_status gone = dm_get_within(ref, &x, 0), none = dm_get_within(DM_NO_REF, &x, 0);
    if (gone != DM_ERR_STALE || none != DM_ERR_BADREF || dm_release(ref) == DM_OK ||
        dm_cancel(ref) == DM_OK)
        mixed_wrong(&p->m, "a released ref: %s; none: %s", dm_status_name(gone),
                    dm_status_name(none));
}

static void cancel(player *p)
{
    int value = (int)below(p, (unsigned)p->m.value_count);
    mixed_deed *d = mixed_deed_at(&p->m, value);
    dm_ref ref = p->m.values[value].ref;
    dm_status status;
    switch (below(p, 4)) {
    case 0:
        status = dm_cancel_within(ref, 0);
        break;
    case 1:
        status = dm_cancel_within(ref, DM_NONE);
        break;
    case 2:
        status = dm_cancel_within(ref, (int64_t)below(p, 30));
        break;
    default:
        status = dm_cancel(ref);
        break;
    }
    if (!d->put && d->fate == MIXED_UNSEEN)
        d->cancelled = true;
    bool may_be_refused = d->put || d->is_given;
    bool must_be_refused = d->put && p->call == NULL; /* in a task it may not be known */
    if (status == DM_ERR_INVALID ? !may_be_refused : status != DM_OK || must_be_refused)
        mixed_wrong(&p->m, "dm_cancel of %s: %s: %s", d->put ? "what was put" : "a task",
                    dm_status_name(status), dm_last_error());
}

static void return_view(player *p)
{
    if (p->view_count == 0)
        return;
    int which = (int)below(p, (unsigned)p->view_count);
    uint64_t number = 0;
    if (mixed_number_of_view(&p->views[which].view, &number) != DM_OK ||
        number != p->views[which].number)
        mixed_wrong(&p->m, "a view of %llu has changed: %llu",
                    (unsigned long long)p->views[which].number, (unsigned long long)number);
    dm_view_release(&p->views[which].view);
    p->views[which] = p->views[--p->view_count];
}

static void scope(player *p)
{
    if (p->call != NULL)
        return;
    bool begins = p->scopes == 0 || below(p, 2);
    if ((begins ? dm_scope_begin() : dm_scope_end()) != DM_OK)
        mixed_wrong(&p->m, "a scope: %s", dm_last_error());
    p->scopes += begins ? 1 : -1;
}

/* ---- one function over many items ---- */

static void map(player *p)
{
    uint64_t x[PLAYER_MAPPED], y[PLAYER_MAPPED], salt = any_number(p);
    size_t n = 1 + below(p, PLAYER_MAPPED);
    unsigned over = below(p, 3); /* indexes, an array, an object */
    dm_map_options options = {.items_per_task = below(p, 2) ? 1 + below(p, 100) : 0,
                              .in_flight = below(p, 4)};
    for (size_t i = 0; i < n; i++)
        x[i] = over == 0 ? i : any_number(p);
    dm_ref object = over == 2 ? dm_put(&DM_ARRAY(x, DM_U64, n)) : DM_NO_REF;
    dm_value items = over == 0   ? dm_value_uint(n)
                     : over == 1 ? dm_value_array(DM_ITEMS(x, n))
                                 : dm_value_ref(object);
    dm_value shared = dm_value_uint(salt);
    dm_status status = dm_map_over(&mixed_maps, &options, items, DM_RESULTS(y), &shared, 1);
    if (status != DM_OK)
        mixed_wrong(&p->m, "dm_map: %s: %s", dm_status_name(status), dm_last_error());
    for (size_t i = 0; i < n && status == DM_OK; i++)
        if (y[i] != mixed_mix(salt, x[i]))
            mixed_wrong(&p->m, "item %zu of %zu is wrong", i, n);
    if (over == 2 && dm_release(object) != DM_OK)
        mixed_wrong(&p->m, "dm_release: %s", dm_last_error());
}

/* ---- the play ---- */

typedef struct move {
    void (*make)(player *p);
    unsigned weight;
    bool needs_values;
} move;

static void let_one_go(player *p)
{
    let_go(p, (int)below(p, (unsigned)p->m.value_count));
}

static void make_a_move(player *p)
{
    static const move moves[] = {
        {make, 24, false},
        {put, 8, false},
        {make_and_abandon, 2, false},
        {make_a_failure, 2, false},
        {hang, 1, false},
        {nothing, 1, false},
        {found_family, 5, false},
        {hand_on, 4, false},
        {list, 4, false},
        {read_list, 6, false},
        {build, 3, false},
        {play_below, 4, false},
        {look, 24, true},
        {wait_for_some, 6, true},
        {let_one_go, 24, true},
        {hold_more, 3, true},
        {cancel, 6, true},
        {return_view, 4, false},
        {scope, 1, false},
        {map, 1, false},
        {ask_for_what_is_not, 1, false},
    };
    enum { MOVES = sizeof moves / sizeof *moves };
    unsigned sum = 0;
    for (int i = 0; i < MOVES; i++)
        sum += moves[i].weight;
    unsigned at = below(p, sum);
    int which = 0;
    while (at >= moves[which].weight)
        at -= moves[which++].weight;
    if (moves[which].needs_values && p->m.value_count == 0)
        return;
    if (!mixed_has_room(&p->m))
        let_one_go(p);
    else
        moves[which].make(p);
}

/* In a task what was not retained may be left lying: it goes with the task. */
static void end_play(player *p)
{
    bool leaves_it = p->call != NULL && (is_told(p) || below(p, 2));
    for (int last = p->m.value_count - 1; last >= 0; last = p->m.value_count - 1) {
        bool looks = p->m.wrong[0] == 0 && !leaves_it && below(p, 2);
        if (looks)
            look_at(p, last);
        if (leaves_it && !p->m.values[last].retained)
            p->m.value_count--;
        else
            let_go(p, last);
    }
    while (p->view_count > 0)
        return_view(p);
    for (; p->scopes > 0; p->scopes--)
        if (dm_scope_end() != DM_OK)
            mixed_wrong(&p->m, "dm_scope_end: %s", dm_last_error());
}

static void play(player *p, unsigned steps)
{
    p->random = p->seed;
    for (p->steps = 0; p->steps < steps && p->m.wrong[0] == 0 && !is_told(p); p->steps++) {
        if (p->m.deed_count + 2 * MIXED_PARTS >= MIXED_DEEDS ||
            p->m.thing_count + 2 * MIXED_PARTS >= MIXED_THINGS)
            break;
        make_a_move(p);
    }
    end_play(p);
}

/* What the task was given is there, whatever else is. */
static dm_status take_given(player *p)
{
    dm_ref_list given;
    DM_TRY(dm_arg(p->call, 3, &given));
    int deed = mixed_deed_of(&p->m);
    p->m.deeds[deed].fate = MIXED_FINE;
    p->m.deeds[deed].is_given = true;
    for (int i = 0; i < (int)given.count; i++) {
        uint64_t number, bytes;
        int kind;
        DM_TRY(dm_arg(p->call, 4 + 3 * i, &number));
        DM_TRY(dm_arg(p->call, 5 + 3 * i, &kind));
        DM_TRY(dm_arg(p->call, 6 + 3 * i, &bytes));
        DM_TRY(dm_retain(given.refs[i]));
        mixed_hold(&p->m, given.refs[i],
                   mixed_thing_of(&p->m, deed, (mixed_kind)kind, number, bytes));
        p->m.values[p->m.value_count - 1].retained = true;
    }
    dm_ref_list_release(&given);
    return DM_OK;
}

static dm_status play_in_task(player *p, int depth, unsigned steps)
{
    DM_TRY(take_given(p));
    if (depth < 0) { /* a tower: one below it, then a few moves */
        p->depth = -depth - 1;
        if (p->depth > 0) {
            uint64_t number, seed = mixed_mix(p->seed, 1);
            const dm_ref_list none = {NULL, 0};
            dm_ref next = dm_remote(mixed_plays, seed, -p->depth, steps, &none);
            dm_status status = dm_get(next, &number);
            if (status != DM_OK || number != mixed_mix(seed, 77))
                mixed_wrong(&p->m, "below: %s: %s", dm_status_name(status), dm_last_error());
        }
        p->depth = 0;
    } else {
        p->depth = depth;
    }
    if (p->m.wrong[0] == 0)
        play(p, steps);
    if (is_told(p))
        return DM_ERR_CANCELLED;
    if (p->m.wrong[0] != 0)
        return dm_fail(p->call, "play %llu, step %llu: %s", (unsigned long long)p->seed,
                       (unsigned long long)p->steps, p->m.wrong);
    return dm_return(p->call, mixed_mix(p->seed, 77));
}

/* seed, levels below, steps, a list of values, and of each its number, kind and bytes. */
DM_REMOTE(mixed_plays)
{
    int depth;
    unsigned steps;
    uint64_t seed;
    DM_TRY(dm_arg(call, 0, &seed));
    DM_TRY(dm_arg(call, 1, &depth));
    DM_TRY(dm_arg(call, 2, &steps));
    player *p = calloc(1, sizeof *p);
    if (p == NULL)
        return DM_ERR_NOMEM;
    p->seed = seed;
    p->call = call;
    dm_status status = play_in_task(p, depth, steps);
    free(p);
    return status;
}

#endif
