/*
 * registry.c - the remote functions of this program: a list that grows before main, and a sorted
 * table made of it by dm_init.
 *
 * dm_register runs in constructors, where little may be relied on: it links and does nothing else.
 * A table is never changed once it is visible, so lookups need no lock; one that a later dm_init
 * replaced (a plugin was loaded) stays, linked from its successor, for whoever may be reading it.
 */
#include "runtime/registry.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 255, MAX_FUNCTIONS = 65534 };

typedef struct table {
    struct table *older;
    uint64_t hash;
    uint32_t count;
    dm_function *functions[];
} table;

static _Atomic(dm_function *) registered;
static _Atomic(table *) current;

void dm_register(dm_function *function)
{
    dm_function *head = atomic_load(&registered);
    for (dm_function *f = head; f; f = f->next) {
        if (f == function) /* linking it again would close the list to a ring */
            return;
    }
    do {
        function->next = head;
    } while (!atomic_compare_exchange_weak(&registered, &head, function)); /* private atomic */
}

static int by_name(const void *a, const void *b)
{
    const dm_function *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static dm_status check_function(const dm_function *f)
{
    const char *file = f->file ? f->file : "?";
    if (!f->name || !*f->name)
        return dmi_error(DM_ERR_INVALID, "the remote function registered at %s:%d has no name",
                         file, f->line);
    if (strlen(f->name) > MAX_NAME)
        return dmi_error(DM_ERR_INVALID,
                         "the name of the remote function at %s:%d (%.40s...) is longer than %d "
                         "bytes",
                         file, f->line, f->name, MAX_NAME);
    if (!f->body)
        return dmi_error(DM_ERR_INVALID, "the remote function %s, registered at %s:%d, has no body",
                         f->name, file, f->line);
    return DM_OK;
}

static dm_status check_table(const table *t)
{
    for (uint32_t i = 1; i < t->count; i++) {
        const dm_function *a = t->functions[i - 1], *b = t->functions[i];
        if (strcmp(a->name, b->name) == 0)
            return dmi_error(DM_ERR_DUPLICATE,
                             "the remote function %s is registered twice, at %s:%d and at %s:%d: "
                             "rename one of them",
                             a->name, a->file ? a->file : "?", a->line, b->file ? b->file : "?",
                             b->line);
    }
    return DM_OK;
}

/* FNV-1a, terminating zeros included, so that "ab" "c" and "a" "bc" differ. */
static uint64_t hash_names(const table *t)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (uint32_t i = 0; i < t->count; i++) {
        const char *name = t->functions[i]->name;
        for (size_t k = 0, n = strlen(name) + 1; k < n; k++)
            hash = (hash ^ (unsigned char)name[k]) * 0x100000001b3u;
    }
    return hash;
}

static dm_status build(dm_function *first, uint32_t count, table **out)
{
    table *t = malloc(sizeof *t + count * sizeof t->functions[0]);
    if (!t)
        return dmi_error(DM_ERR_NOMEM, "no memory for the table of %u remote functions", count);
    t->count = 0;
    for (dm_function *f = first; f; f = f->next)
        t->functions[t->count++] = f;
    qsort(t->functions, t->count, sizeof t->functions[0], by_name);
    dm_status status = check_table(t);
    if (status != DM_OK) {
        free(t);
        return status;
    }
    t->hash = hash_names(t);
    *out = t;
    return DM_OK;
}

dm_status dmi_registry_close(void)
{
    dm_function *first = atomic_load(&registered);
    uint32_t count = 0;
    for (const dm_function *f = first; f; f = f->next) {
        DM_TRY(check_function(f));
        if (++count > MAX_FUNCTIONS)
            return dmi_error(DM_ERR_INVALID, "more than %d remote functions are registered",
                             MAX_FUNCTIONS);
    }
    table *old = atomic_load(&current), *fresh = NULL;
    if (old && old->count == count)
        return DM_OK; /* functions are only ever added */
    DM_TRY(build(first, count, &fresh));
    for (uint32_t i = 0; i < count; i++)
        fresh->functions[i]->id = (int)i;
    fresh->older = old;
    atomic_store(&current, fresh); /* private atomic */
    return DM_OK;
}

const dm_function *dmi_registry_at(uint32_t id)
{
    const table *t = atomic_load_explicit(&current, memory_order_acquire);
    return t && id < t->count ? t->functions[id] : NULL;
}

int dmi_registry_knows(const dm_function *function)
{
    return function && function->id >= 0 && dmi_registry_at((uint32_t)function->id) == function;
}

dm_status dmi_registry_unknown(const dm_function *function, const char *call, const char *definition)
{
    const char *name = function && function->name ? function->name : NULL;
    const dm_function *namesake = dm_function_named(name);
    if (function == NULL)
        return dmi_error(DM_ERR_NO_FUNCTION, "%s: there is no function (NULL); dm_function_named gives NULL for a name "
                         "that none has", call);
    if (namesake == NULL)
        return dmi_error(DM_ERR_NO_FUNCTION, "%s: no remote function \"%s\" is registered: define it with %s", call,
                         name ? name : "(no name)", definition);
    return dmi_error(DM_ERR_NO_FUNCTION, "%s: this is not the remote function \"%s\" of %s:%d, but a copy or another of "
                     "its name: pass %s itself, or what dm_function_named(\"%s\") gives", call, name, namesake->file,
                     namesake->line, name, name);
}

uint64_t dmi_registry_hash(void)
{
    const table *t = atomic_load_explicit(&current, memory_order_acquire);
    return t ? t->hash : 0;
}

const dm_function *dm_function_named(const char *name)
{
    if (!name)
        return NULL;
    const table *t = atomic_load_explicit(&current, memory_order_acquire);
    if (t) {
        dm_function wanted = {.name = name}, *key = &wanted;
        dm_function *const *found = bsearch(&key, t->functions, t->count, sizeof key, by_name);
        return found ? *found : NULL;
    }
    for (const dm_function *f = atomic_load(&registered); f; f = f->next) {
        if (f->name && strcmp(f->name, name) == 0)
            return f;
    }
    return NULL;
}
