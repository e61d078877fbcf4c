/*
 * victims.c - the policy of eviction. Touches nothing; tests/test_store_victims.c.
 */
#include "objectstore/victims.h"

#include <assert.h>
#include <stdlib.h>

typedef struct rank {
    int coldness;
    bool on_disk;
    uint64_t bytes;
    uint16_t index;
} rank;

static int coldness(uint32_t age)
{
    return age == 0 ? 0 : 32 - __builtin_clz(age);
}

/* Who goes first. Ties by place, so that the choice is the same everywhere. */
static int compare(const void *left, const void *right)
{
    const rank *a = left, *b = right;
    if (a->coldness != b->coldness)
        return a->coldness > b->coldness ? -1 : 1;
    if (a->on_disk != b->on_disk)
        return a->on_disk ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

uint64_t dmi_victims_due(const dmi_pressure *p)
{
    double staying = (double)(p->used - (p->leaving < p->used ? p->leaving : p->used));
    double begin = p->begin * (double)p->limit, end = p->end * (double)p->limit;
    /* Once begun, it goes on until the lower mark: what is leaving says that it has begun. */
    if (staying <= (p->leaving != 0 ? end : begin))
        return 0;
    return (uint64_t)(staying - end) + 1;
}

size_t dmi_victims_choose(const dmi_candidate *candidates, size_t n, uint64_t need, uint16_t *chosen)
{
    rank ranks[DMI_VICTIMS_MOST];
    assert(n <= DMI_VICTIMS_MOST);
    for (size_t i = 0; i < n; i++)
        ranks[i] = (rank){coldness(candidates[i].age), candidates[i].on_disk, candidates[i].bytes,
                          (uint16_t)i};
    qsort(ranks, n, sizeof *ranks, compare);
    size_t count = 0;
    for (uint64_t sum = 0; count < n && sum < need; count++) {
        chosen[count] = ranks[count].index;
        sum += ranks[count].bytes;
    }
    return count;
}
