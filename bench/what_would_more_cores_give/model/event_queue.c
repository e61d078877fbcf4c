/*
 * event_queue.c - see event_queue.h.
 */
#include "bench/what_would_more_cores_give/model/event_queue.h"

#include <stdio.h>
#include <stdlib.h>

static bool is_before(const event *a, const event *b)
{
    return a->at < b->at || (a->at == b->at && a->serial < b->serial);
}

static void swap(event *a, event *b)
{
    event kept = *a;
    *a = *b;
    *b = kept;
}

static void reserve(event_queue *queue)
{
    if (queue->n < queue->room)
        return;
    queue->room = queue->room ? 2 * queue->room : 256;
    queue->heap = realloc(queue->heap, queue->room * sizeof *queue->heap);
    if (queue->heap)
        return;
    fputs("no memory for events\n", stderr);
    exit(1);
}

void event_queue_push(event_queue *queue, double at, uint32_t kind, uint32_t who)
{
    reserve(queue);
    size_t i = queue->n++;
    queue->heap[i] = (event){at, queue->serial++, kind, who};
    for (; i > 0 && is_before(&queue->heap[i], &queue->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&queue->heap[i], &queue->heap[(i - 1) / 2]);
}

const event *event_queue_first(const event_queue *queue)
{
    return queue->n ? queue->heap : NULL;
}

static void sink(event_queue *queue)
{
    event *heap = queue->heap;
    for (size_t i = 0;;) {
        size_t first = i, left = 2 * i + 1, right = left + 1;
        if (left < queue->n && is_before(&heap[left], &heap[first]))
            first = left;
        if (right < queue->n && is_before(&heap[right], &heap[first]))
            first = right;
        if (first == i)
            return;
        swap(&heap[i], &heap[first]);
        i = first;
    }
}

bool event_queue_pop(event_queue *queue, event *out)
{
    if (queue->n == 0)
        return false;
    *out = queue->heap[0];
    queue->heap[0] = queue->heap[--queue->n];
    sink(queue);
    return true;
}

void event_queue_fini(event_queue *queue)
{
    free(queue->heap);
    *queue = (event_queue){0};
}
